"""Synthetic voices with alignments: repeatable, and every phone where it sounds."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.phonetic.alignment import read_alignments

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "egs/synthetic/v1/local"
CMU = set(
    "SIL AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()  # noqa: SIM905
)


def make(run, where, *options):
    sizes = ("--num-train", "3", "--num-heldout", "2", "--num-utterances", "3")
    return run(LOCAL / "make_phone_corpus.py", "--corpus-dir", f"{where}/corpus", "--data-dir", where, *sizes, *options)


@pytest.fixture
def corpus(run, tmp_path):
    pytest.importorskip("espeakng_loader", reason="the synthetic extra is not installed")
    result = make(run, "one", "--nj", "2")
    assert result.returncode == 0, result.stderr
    return tmp_path / "one"


def test_the_same_options_give_the_same_bytes_whatever_nj_is(run, tmp_path, corpus):
    make(run, "two", "--nj", "1")
    files = [file.relative_to(corpus) for file in corpus.rglob("*") if file.suffix in (".flac", ".ctm")]
    assert len(files) == 15 + 3
    assert all((tmp_path / "two" / file).read_bytes() == (corpus / file).read_bytes() for file in files)


def test_alignments_lie_within_the_recordings_and_follow_the_sound(corpus):
    quiet, loud = [], []
    for name in ("train", "heldout"):
        data, alignments = DataDir.read(corpus / name), read_alignments(corpus / name / "phones.ctm")
        assert alignments.keys() == data.utt2spk.keys()
        for utterance in data.utterances():
            samples, rate = soundfile.read(utterance.wav)
            segments = alignments[utterance.utterance_id]
            assert {segment.phone for segment in segments} <= CMU
            assert segments[0].start > 0
            assert segments[-1].end < len(samples) / rate
            for segment in segments:
                own = samples[int(segment.start * rate) : int(segment.end * rate)]
                (loud if segment.phone in ("AA", "AE", "IY", "OW", "EY") else quiet if segment.phone == "SIL" else []).append(np.std(own))
    assert np.median(loud) > 2 * np.median(quiet)


def test_phonemes_become_phones_and_the_neighbours_of_a_kind_one(monkeypatch):
    monkeypatch.syspath_prepend(str(LOCAL))
    from phones import PHONE_OF, segments

    assert set(PHONE_OF.values()) == CMU
    spoken = [(0, "_"), (10, "'i:"), (20, ";"), (25, "i"), (40, "t["), (40, "t"), (60, "_:"), (70, "_")]
    assert segments(spoken, 90) == [(0, 10, "SIL"), (10, 40, "IY"), (40, 60, "T"), (60, 90, "SIL")]
    with pytest.raises(KeyError):
        segments([(0, "no such phoneme")], 10)
