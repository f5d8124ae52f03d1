from __future__ import annotations

import pytest
from click.testing import CliRunner

from sv_toolkit.cli.check_trials import command as check
from sv_toolkit.cli.make_trials import command
from sv_toolkit.data.data_dir import write_data_dir

IDS = [f"{speaker}-{i}" for speaker in "abcd" for i in range(4)]


@pytest.fixture
def data(tmp_path):
    tables = {"utt2spk": {key: key[0] for key in IDS}, "utt2keyword": {key: "cat" if key[-1] in "01" else "bed" for key in IDS}}
    write_data_dir(tmp_path / "data", tables)  # no wav.scp: trials are about ids
    return tmp_path / "data"


def run(*arguments, command=command):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_all_pairs_are_written_beside_the_data_and_pass_the_check(data):
    result = run(data)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "120 trials" in result.stderr
    assert len((data / "trials").read_text().splitlines()) == 120
    checked = run(data / "trials", command=check)
    assert checked.exit_code == 0
    assert checked.stdout.split("hash ")[1].strip() in result.stderr


def test_a_list_is_not_replaced_by_another(data):
    assert run(data).exit_code == 0
    before = (data / "trials").read_bytes()
    assert run(data).exit_code == 0
    assert run("--per-utterance", 2, data).exit_code == 1
    assert (data / "trials").read_bytes() == before
    assert run("--per-utterance", 2, "--overwrite", data).exit_code == 0
    assert (data / "trials").read_bytes() != before


@pytest.mark.parametrize("keyword", ["same", "different"])
@pytest.mark.parametrize("num_enroll", [1, 2])
def test_enrollment_models_and_their_trials_pass_the_check(data, tmp_path, keyword, num_enroll):
    if num_enroll == 2 and keyword == "same":  # each has said each keyword twice: nothing would be left to test with
        num_enroll = 1
    options = ["--num-enroll", num_enroll, "--keyword", keyword]
    arguments = [*options, "--enroll-spk2utt-out", tmp_path / "enroll", "-o", tmp_path / "trials", data]
    assert run(*arguments).exit_code == (0 if num_enroll == 1 else 1)
    if num_enroll == 1:
        checked = run(tmp_path / "trials", "--data", data, "--enroll-spk2utt", tmp_path / "enroll", command=check)
        assert (checked.exit_code, len(checked.stdout.splitlines())) == (0, 1)


def test_a_missing_map_is_named(data, tmp_path):
    result = run("--session", "different", "-o", tmp_path / "trials", data)
    assert result.exit_code == 1
    assert "utt2session: no such file" in result.stderr
    assert not (tmp_path / "trials").exists()


def test_unknown_conditions_are_a_usage_error(data):
    assert run("--keyword", "other", data).exit_code == 2
    assert run("--per-utterance", 0, data).exit_code == 2
