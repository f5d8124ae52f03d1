"""The proof that a data directory is clean agrees with the examination line by line."""

from __future__ import annotations

import pytest

from sv_toolkit.data import clean
from sv_toolkit.data.validation import Rules, examine


@pytest.fixture(autouse=True)
def any_size(monkeypatch):
    monkeypatch.setattr(clean, "LARGE", 0)


TABLES = {
    "utt2spk": "s1-a s1\ns1-b s1\ns2-a s2\n",
    "spk2utt": "s1 s1-a s1-b\ns2 s2-a\n",
    "wav.scp": "s1-a /a b.wav\ns1-b /b.wav\ns2-a /c.wav\n",
    "spk2gender": "s1 m\ns2 f\n",
    "utt2lang": "s1-a en\ns1-b en\ns2-a ar\n",
    "utt2date": "s1-a 2020-02-03\ns1-b 7\ns2-a 2020-02-03\n",
    "utt2dur": "s1-a 1.5\ns1-b 2\ns2-a 3e0\n",
    "utt2num_frames": "s1-a 150\ns1-b 3\ns2-a 30\n",
    "feats.scp": "s1-a x.ark:5\ns1-b x.ark:99\ns2-a y.ark:5\n",
    "vad.scp": "s1-a v.ark:5\ns1-b v.ark:99\ns2-a v.ark:500\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_clean_directory_is_proven_clean(folder):
    assert clean.counts_if_clean(folder, True, True) == (3, 2)
    findings = examine(folder)
    assert not findings.problems and (findings.num_utterances, findings.num_speakers) == (3, 2)


FAULTS = {
    "utt2spk": ["s1-a s1\ns1-b s2\ns2-a s2\n", "s1-a s1\ns2-a s2\n", "s1-b s1\ns1-a s1\ns2-a s2\n"],
    "spk2utt": ["s1 s1-a\ns2 s2-a\n", "s1 s1-a s1-b\ns2 s2-a\ns3 x\n", "s1 s1-a s1-b s2-a\n"],
    "wav.scp": [
        "s1-a cat x |\ns1-b /b.wav\ns2-a /c.wav\n",
        "s1-a ~/x\ns1-b /b.wav\ns2-a /c.wav\n",
        "s1-a /a\ns1-b /b\n",
        "s1-a /a\ns1-c /b\ns2-a /c\n",
    ],
    "spk2gender": ["s1 m\ns2 x\n", "s1 m\n"],
    "utt2lang": ["s1-a en\ns1-b en\n", "s1-a en\ns1-b en us\ns2-a ar\n"],
    "utt2date": ["s1-a 2020-02-33\ns1-b 7\ns2-a 2020-02-03\n"],
    "utt2dur": ["s1-a 0\ns1-b 2\ns2-a 3\n", "s1-a x\ns1-b 2\ns2-a 3\n"],
    "utt2num_frames": ["s1-a 0\ns1-b 3\ns2-a 30\n", "s1-a 1.5\ns1-b 3\ns2-a 30\n"],
    "feats.scp": ["s1-a x.ark:5\ns2-a y.ark:5\n", "s1-a cat |\ns1-b x.ark:99\ns2-a y.ark:5\n"],
    "vad.scp": ["s1-a v.ark:5\ns1-b v.ark:99\ns2-a v.ark:500\ns3-a v.ark:7\n"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in FAULTS.items() for text in texts])
def test_what_the_slow_examination_refuses_is_not_proven_clean(folder, name, text):
    (folder / name).write_text(text)
    assert clean.counts_if_clean(folder, True, True) is None
    assert examine(folder).problems


def test_rules_are_kept(folder):
    (folder / "utt2spk").write_text("s1-a s1\ns1-b s1\ns2-a t2\n")
    (folder / "spk2utt").write_text("s1 s1-a s1-b\nt2 s2-a\n")
    (folder / "spk2gender").write_text("s1 m\nt2 f\n")
    assert clean.counts_if_clean(folder, True, True) is None
    assert clean.counts_if_clean(folder, False, True) == (3, 2) and not examine(folder, rules=Rules(speaker_prefix=False)).problems
    (folder / "wav.scp").unlink()
    assert clean.counts_if_clean(folder, False, True) is None
    assert clean.counts_if_clean(folder, False, False) == (3, 2)
