from __future__ import annotations

import pytest

from sv_toolkit.data.data_dir import write_data_dir
from sv_toolkit.data.validation import Rules, examine, validate
from sv_toolkit.io.tables import check_table


def notes(path, **rules):
    findings = examine(path, rules=Rules(**rules))
    assert not findings.problems, findings.problems
    return [str(note) for note in findings.notes]


def write(path, utt2spk, **tables):
    write_data_dir(path, {"utt2spk": utt2spk, "wav.scp": {key: f"{key}.wav" for key in utt2spk}, **tables})
    return path


def test_a_balanced_directory_gets_no_note(make_data):
    assert notes(make_data()) == []


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"a": 50, "b": 2, "c": 2}, ["a has 50 utterances", "median of 3 speakers is 2"]),
        ({"a": 1, "b": 1, "c": 2}, ["2 of 3 speakers have a single utterance"]),
        ({"a": 3}, ["one speaker"]),
    ],
)
def test_speakers_out_of_balance_get_a_line(tmp_path, counts, words):
    utt2spk = {f"{speaker}-{i:03d}": speaker for speaker, count in counts.items() for i in range(count)}
    found = notes(write(tmp_path / "data", utt2spk))
    assert len(found) == 1 and all(word in found[0] for word in words), found


@pytest.mark.parametrize(("first", "second", "how"), [("jos\u00e9", "jose\u0301", "Unicode form"), ("Anna", "anna", "case")])
def test_speakers_that_look_alike_get_a_line(tmp_path, first, second, how):
    utt2spk = {f"{speaker}-{i}": speaker for speaker in (first, second) for i in range(2)}
    found = notes(write(tmp_path / "data", utt2spk))
    assert any("speakers are equal but for" in note and how in note for note in found), found


def test_ids_that_differ_in_unicode_form_alone_are_to_be_written_alike_and_not_dropped(tmp_path):
    composed, apart = "jos\u00e9", "jose\u0301"
    path = write(tmp_path / "data", {f"{apart}-{i}": apart for i in range(2)} | {"z-1": "z", "z-2": "z"})
    (path / "wav.scp").write_text("".join(sorted([f"{composed}-{i} x.wav\n" for i in range(2)] + ["z-1 a.wav\n", "z-2 b.wav\n"])))
    problems = [str(problem) for problem in validate(path)]
    assert len(problems) == 2 and all("Unicode form" in text and "drops" not in text for text in problems), problems


def test_one_session_a_speaker_gets_a_line(make_data):
    from .conftest import UTTERANCES

    path = make_data(tables={"utt2session": {key: f"s{key[3]}" for key in UTTERANCES}})
    assert "every speaker has one session" in notes(path)[0]
    assert notes(make_data("other", {"utt2session": {key: key[-1] for key in UTTERANCES}})) == []


def test_a_recording_of_two_speakers_gets_a_line(tmp_path):
    utt2spk = {"a-1": "a", "a-2": "a", "b-1": "b", "b-2": "b"}
    path = write(tmp_path / "data", utt2spk, **{"wav.scp": {key: f"{key[-1]}.wav" for key in utt2spk}})
    assert "wav.scp:3: 2 recordings stand under another speaker" in notes(path)[0]


def test_speakers_that_kaldi_cannot_sort_are_named(tmp_path):
    path = write(tmp_path / "data", {"m10_1": "m10", "m1_1": "m1"})
    problems = [str(problem) for problem in validate(path)]
    assert len(problems) == 1 and "utt2spk:2" in problems[0] and "m1" in problems[0]
    assert validate(path, rules=Rules(speaker_prefix=False)) == []


def test_a_nul_byte_is_named_with_its_own_line(tmp_path):
    (tmp_path / "utt2spk").write_bytes(b"a-1 a\na-2 a\nb-1 \0b\n")
    _, problems = check_table(tmp_path / "utt2spk")
    assert len(problems) == 1 and problems[0].where.endswith("utt2spk:3") and "NUL" in problems[0].what
