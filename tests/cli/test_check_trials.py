from __future__ import annotations

import pytest
from click.testing import CliRunner

from sv_toolkit.cli.check_trials import command
from sv_toolkit.data.data_dir import write_data_dir


@pytest.fixture
def data(tmp_path):
    write_data_dir(tmp_path / "data", {"utt2spk": {"a-1": "a", "a-2": "a", "b-1": "b"}})
    return tmp_path / "data"


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_findings_and_counts_are_data(data):
    (data / "trials").write_text("a-1 a-2 target\na-1 b-1 target\na-1 a-1 target\nx a-1 nontarget\na-1 a-2 target\n")
    result = run(data / "trials")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert "5 trials" in lines[0]
    assert all(any(word in line for line in lines[1:]) for word in ("duplicates", "itself", "unknown", "contradict"))
    assert "4 problems" in result.stderr


def test_without_a_data_directory_the_list_itself_is_checked(tmp_path):
    (tmp_path / "trials").write_text("a b target\nb a target\n")
    result = run(tmp_path / "trials")
    assert result.exit_code == 0
    assert "note: " in result.stdout and "other order" in result.stdout
    (tmp_path / "trials").write_text("a a target\n")
    assert run(tmp_path / "trials").exit_code == 1


def test_speakers_shared_with_training_are_found(data, tmp_path):
    (data / "trials").write_text("a-1 a-2 target\na-1 b-1 nontarget\n")
    assert run(data / "trials").exit_code == 0
    write_data_dir(tmp_path / "train", {"utt2spk": {"b-9": "b"}})
    result = run(data / "trials", "--train", tmp_path / "train")
    assert result.exit_code == 1
    assert "1 of 2 speakers are in the training data, too: b" in result.stdout


def test_another_format_must_be_named(data):
    (data / "trials").write_text("1 a-1 a-2\n0 a-1 b-1\n")
    assert "--trials-format voxceleb" in run(data / "trials").stderr
    assert run(data / "trials", "--trials-format", "voxceleb").exit_code == 0


def test_the_hash_does_not_depend_on_the_order(data, tmp_path):
    for name, lines in (("x", ["a-1 a-2 target\n", "a-1 b-1 nontarget\n"]), ("y", ["a-1 b-1 nontarget\n", "a-1 a-2 target\n"])):
        (tmp_path / name).write_text("".join(lines))
    hashes = {run(tmp_path / name, "--data", data).stdout.split("hash ")[1] for name in "xy"}
    assert len(hashes) == 1
