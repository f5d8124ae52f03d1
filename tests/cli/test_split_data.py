from __future__ import annotations

import pytest
from click.testing import CliRunner

from sv_toolkit.cli.split_data import command
from sv_toolkit.data.data_dir import DataDir, write_data_dir
from sv_toolkit.data.validation import validate

IDS = [f"{speaker}-{i}" for speaker in "abcd" for i in range(4)]


@pytest.fixture
def data(tmp_path):
    write_data_dir(tmp_path / "data", {"wav.scp": {key: f"{key}.wav" for key in IDS}, "utt2spk": {key: key[0] for key in IDS}})
    return tmp_path / "data"


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_parts_are_valid_directories_and_together_the_whole(data):
    result = run(data, 3)
    assert result.exit_code == 0
    parts = [data / "split3" / str(number) for number in (1, 2, 3)]
    assert [validate(part) for part in parts] == [[], [], []]
    assert [key for part in parts for key in DataDir.read(part).utt2spk] == IDS


def test_a_smaller_split_leaves_no_part_of_a_larger_one(data, tmp_path):
    assert run(data, 4, tmp_path / "out").exit_code == 0
    assert run(data, 2, tmp_path / "out").exit_code == 1
    assert run(data, 2, tmp_path / "out", "--overwrite").exit_code == 0
    assert not (tmp_path / "out" / "3" / "utt2spk").exists()


def test_too_many_parts_are_reduced_with_a_note(data, tmp_path):
    result = run(data, 9, tmp_path / "out")
    assert result.exit_code == 0
    assert "4 parts instead of 9" in result.stderr
    assert run(data, 9, tmp_path / "utt", "--per-utt").exit_code == 0
    assert (tmp_path / "utt" / "9" / "utt2spk").exists()


def test_the_source_is_never_split_in_its_own_place(data):
    result = run("--overwrite", data, 2, data)
    assert result.exit_code == 1
    assert "would replace its own input" in result.stderr
    assert DataDir.read(data).utt2spk.keys() == set(IDS)
