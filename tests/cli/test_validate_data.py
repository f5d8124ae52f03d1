from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sv_toolkit.cli.validate_data import command
from sv_toolkit.data.data_dir import write_data_dir

BIN = Path(__file__).resolve().parents[2] / "bin"
IDS = ["a-1", "a-2", "b-1"]


@pytest.fixture
def data(tmp_path):
    write_data_dir(tmp_path / "data", {"wav.scp": {key: f"{key}.wav" for key in IDS}, "utt2spk": {key: key[0] for key in IDS}})
    return tmp_path / "data"


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_good_directory_is_told_on_stdout(data):
    result = run(data)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{data}: ok, 3 utterances, 2 speakers\n", "")


def test_findings_are_data_and_the_summary_is_talk(data):
    (data / "wav.scp").write_text("a-1 ~/x.wav\na-2 x.wav\n")
    result = run(data)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert f"2 problems in {data}" in result.stderr


def test_findings_as_json_hold_place_fault_and_fix(data):
    (data / "wav.scp").write_text("a-1 ~/x.wav\na-2 x.wav\nb-1 x.wav\n")
    finding = json.loads(run(data, "--json").stdout)
    assert finding.keys() == {"where", "what", "fix"}
    assert finding["where"].endswith("wav.scp:1")


@pytest.mark.parametrize(
    ("option", "name", "text"),
    [
        ("--no-speaker-prefix", "utt2spk", "a-1 x\na-2 x\nb-1 b\n"),
        ("--allow-pipes", "wav.scp", "a-1 cat x |\na-2 x\nb-1 b\n"),
        ("--no-wav", "wav.scp", None),
    ],
)
def test_what_is_unusual_can_be_accepted(data, option, name, text):
    (data / "spk2utt").unlink()
    (data / name).unlink()
    if text is not None:
        (data / name).write_text(text)
    assert run(data).exit_code == 1
    assert run(data, option).exit_code == 0


def test_reading_the_data_finds_missing_audio(data):
    assert run(data).exit_code == 0
    result = run(data, "--read-data")
    assert result.exit_code == 1
    assert result.stdout.count("No such file") == 3


@pytest.mark.parametrize("options", [[], ["-O"]], ids=["plain", "without assertions"])
def test_the_process_fails_whatever_the_interpreter_leaves_out(data, options):
    (data / "utt2spk").write_text("a-1 a\na-2 a x\nb-1 b\n")
    result = subprocess.run([sys.executable, *options, BIN / "sv-validate-data", data], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "utt2spk:2" in result.stdout
    assert "Traceback" not in result.stderr
