from __future__ import annotations

import pytest

from sv_toolkit.data.data_dir import write_skipped
from sv_toolkit.data.validation import Rules, examine, validate

from .conftest import UTTERANCES


def messages(path, **kwargs):
    return [str(problem) for problem in validate(path, **kwargs)]


def replace_line(path, name, number, line):
    lines = (path / name).read_text().splitlines()
    lines[number - 1 : number] = [] if line is None else [line]
    (path / name).write_text("\n".join(lines) + "\n")


def test_a_good_directory_has_no_problem(make_data, segmented):
    findings = examine(make_data())
    assert (findings.problems, findings.num_utterances, findings.num_speakers) == ([], 16, 4)
    assert validate(make_data("with_segments", segmented)) == []


def test_all_problems_are_found_at_once(make_data):
    path = make_data(tables={"spk2gender": {f"spk{i}": "m" for i in range(1, 4)} | {"spk4": "x"}})
    replace_line(path, "wav.scp", 2, "spk1-u2 ~/a.wav")
    replace_line(path, "utt2spk", 16, None)
    replace_line(path, "spk2utt", 1, "spk1 spk1-u1 spk1-u2 spk1-u3 spk2-u1")
    text = "\n".join(messages(path))
    for word in ("wav.scp:2", "spk4-u4", "spk2gender:4", "spk2-u1 stands under speaker spk1", "spk1-u4"):
        assert word in text, text


@pytest.mark.parametrize(
    ("name", "number", "line", "words"),
    [
        ("utt2spk", 3, "spk1-u3 spk1 extra", ["utt2spk:3", "3 fields"]),
        ("utt2spk", 3, "spk1-u3", ["utt2spk:3", "1 field"]),
        ("wav.scp", 3, "spk1-u3", ["wav.scp:3", "1 field"]),
        ("wav.scp", 3, "spk1-u3 cat x |", ["wav.scp:3", "pipe", "--allow-pipes"]),
        ("wav.scp", 10, None, ["wav.scp", "utt2spk", "spk3-u2"]),
        ("spk2utt", 4, None, ["spk2utt", "4 of the 16", "spk4-u1"]),
        ("spk2utt", 4, "spk4 spk4-u1 spk4-u2 spk4-u3 spk4-u4 spk4-u4", ["spk2utt:4", "spk4-u4 stands twice"]),
        ("spk2utt", 4, "spk4 spk4-u1 spk4-u2 spk4-u3 spk4-u4 spk4-u5", ["spk2utt:4", "does not have it"]),
    ],
)
def test_one_damaged_line_is_one_problem(make_data, name, number, line, words):
    path = make_data()
    replace_line(path, name, number, line)
    found = messages(path)
    assert len(found) == 1, found
    assert all(word in found[0] for word in words), found


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("utt2dur", "0", ["above 0", "'0'"]),
        ("utt2dur", "nan", ["number", "'nan'"]),
        ("utt2num_frames", "12.5", ["whole number", "'12.5'"]),
        ("utt2speed", "99", ["from 0.1 to 10", "'99'"]),
    ],
)
def test_values_are_checked_by_file(make_data, name, value, words):
    path = make_data(tables={name: dict.fromkeys(UTTERANCES, "1") | {"spk2-u3": value}})
    found = messages(path)
    assert len(found) == 1
    assert all(word in found[0] for word in [f"{name}:7", *words]), found


@pytest.mark.parametrize("name", ["feats.scp", "vad.scp", "utt2num_frames"])
def test_what_was_extracted_must_be_there_unless_it_was_skipped(make_data, name):
    value = "3" if name == "utt2num_frames" else "x.ark:5"
    path = make_data(tables={name: {key: value for key in [*UTTERANCES, "spk1-old"] if key != "spk3-u2"}})
    found = messages(path)
    assert len(found) == 2
    assert "spk3-u2" in found[0]
    assert "spk1-old" in found[1]
    write_skipped(path, "sv-extract-fbank", {"spk3-u2": "truncated"})
    assert len(messages(path)) == 1


def test_segments_and_utt2spk_must_speak_of_the_same_utterances(make_data, segmented):
    path = make_data(tables={"segments": {"spk1-s1": "spk1-u1 0 1"}})
    assert "segments is primary" in "\n".join(messages(path))
    path = make_data("other", segmented)
    replace_line(path, "segments", 6, "spk2-u2 rec-none 0.5 1")
    found = messages(path)
    assert len(found) == 1
    assert "segments:6" in found[0]
    assert "rec-none" in found[0]


def test_ids_without_the_speaker_as_prefix_are_a_problem_that_can_be_accepted(make_data):
    path = make_data(tables={"utt2spk": {key: f"spk{5 - int(key[3])}" for key in UTTERANCES}})
    found = messages(path)
    assert len(found) == 1
    assert "prefix" in found[0]
    assert "--no-speaker-prefix" in found[0]
    assert messages(path, rules=Rules(speaker_prefix=False)) == []


def test_a_directory_of_features_needs_no_audio_if_told_so(make_data):
    path = make_data(tables={"wav.scp": None})
    assert "required are wav.scp, utt2spk" in messages(path)[0]
    assert messages(path, rules=Rules(need_wav=False)) == []


def test_optional_tables_must_be_complete_and_of_this_data(make_data):
    path = make_data(tables={"utt2lang": dict.fromkeys([*UTTERANCES[1:], "spk9-u1"], "en")})
    found = messages(path)
    assert len(found) == 2
    assert "spk1-u1" in found[0]
    assert "spk9-u1" in found[1]


def test_a_foreign_file_is_not_poured_out(make_data):
    path = make_data()
    (path / "utt2spk").write_text("".join(f"user{i}:x:hash{i}:/root\n" for i in range(1000)))
    found = messages(path)
    assert sum(len(line) for line in found) < 6000
    assert sum("hash" in line for line in found) == 1


def test_what_is_no_directory_is_one_problem(tmp_path):
    (tmp_path / "file").write_text("x")
    assert len(messages(tmp_path / "none")) == len(messages(tmp_path / "file")) == 1
