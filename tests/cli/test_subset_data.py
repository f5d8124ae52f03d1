from __future__ import annotations

import pytest
from click.testing import CliRunner

from sv_toolkit.cli.subset_data import command
from sv_toolkit.data.data_dir import DataDir, write_data_dir, write_skipped
from sv_toolkit.data.validation import validate

IDS = [f"{speaker}-{i}" for speaker in "abcd" for i in range(4)]


@pytest.fixture
def data(tmp_path):
    tables = {"wav.scp": {key: f"{key}.wav" for key in IDS}, "utt2spk": {key: key[0] for key in IDS}}
    write_data_dir(tmp_path / "data", {**tables, "feats.scp": dict.fromkeys(IDS[1:], "x.ark:1")})
    write_skipped(tmp_path / "data", "sv-extract-fbank", {IDS[0]: "short"})
    return tmp_path / "data"


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_part_is_a_valid_directory_with_what_was_extracted(data, tmp_path):
    result = run("--speakers", 3, "--per-speaker", 2, "--first", data, tmp_path / "out")
    assert result.exit_code == 0
    assert "6 of 16 utterances, 3 of 4 speakers" in result.stderr
    assert validate(tmp_path / "out") == []
    out = DataDir.read(tmp_path / "out")
    assert list(out.utt2spk) == ["a-0", "a-1", "b-0", "b-1", "c-0", "c-1"]
    assert list(out.table("feats.scp")) == ["a-1", "b-0", "b-1", "c-0", "c-1"]
    assert out.skipped() == {"a-0": "short"}


def test_test_speakers_and_the_rest_are_disjoint(data, tmp_path):
    assert run("--speakers", 2, "--seed", 3, data, tmp_path / "test").exit_code == 0
    assert run("--exclude-spk-list", tmp_path / "test" / "spk2utt", data, tmp_path / "train").exit_code == 0
    test, train = DataDir.read(tmp_path / "test"), DataDir.read(tmp_path / "train")
    assert not test.spk2utt.keys() & train.spk2utt.keys()
    assert sorted([*test.utt2spk, *train.utt2spk]) == IDS


@pytest.mark.parametrize(
    ("option", "words", "kept"),
    [
        ("--utt-list", "b-1\na-0\n", ["a-0", "b-1"]),
        ("--spk-list", "c\n", IDS[8:12]),
        ("--exclude-utt-list", "x\nb-1\n", [key for key in IDS if key != "b-1"]),
    ],
)
def test_lists_choose(data, tmp_path, option, words, kept):
    (tmp_path / "list").write_text(words)
    assert run(option, tmp_path / "list", data, tmp_path / "out").exit_code == 0
    assert list(DataDir.read(tmp_path / "out").utt2spk) == kept


def test_unknown_ids_and_too_large_counts_are_refused(data, tmp_path):
    (tmp_path / "list").write_text("nobody\n")
    result = run("--spk-list", tmp_path / "list", data, tmp_path / "out")
    assert result.exit_code == 1
    assert "list:1: 1 of 1 ids are no speaker" in result.stderr
    result = run("--utterances", 17, data, tmp_path / "out")
    assert result.exit_code == 1
    assert "17 utterances are asked for, there are 16" in result.stderr
    assert run("--speakers", 0, data, tmp_path / "out").exit_code == 2


def test_the_same_command_does_nothing_and_another_seed_is_another_run(data, tmp_path):
    assert run("--utterances", 5, data, tmp_path / "out").exit_code == 0
    assert "already done" in run("--utterances", 5, data, tmp_path / "out").stderr
    assert "--overwrite" in run("--utterances", 5, "--seed", 1, data, tmp_path / "out").stderr
