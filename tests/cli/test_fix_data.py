from __future__ import annotations

import soundfile
from click.testing import CliRunner

from sv_toolkit.cli.fix_data import command
from sv_toolkit.data.data_dir import write_data_dir
from sv_toolkit.data.validation import validate

IDS = ["a-1", "a-2", "b-1"]


def make_data(path, wav):
    write_data_dir(path, {"wav.scp": {key: str(wav / f"{key}.wav") for key in IDS}, "utt2spk": {key: key[0] for key in IDS}})
    return path


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_what_is_dropped_is_printed_and_listed(tmp_path):
    data = make_data(tmp_path / "data", tmp_path)
    (data / "utt2spk").write_text("b-1 b\na-1 a\na-2 a x\n")
    result = run(data)
    assert result.exit_code == 0
    assert result.stdout == (data / "dropped.tsv").read_text()
    assert result.stdout.startswith(f"a-2\t{data}/utt2spk:3\texpected 'utterance speaker'")
    assert "2 utterances" in result.stderr
    assert validate(data) == []


def test_a_dry_run_changes_nothing(tmp_path):
    data = make_data(tmp_path / "data", tmp_path)
    (data / "utt2spk").write_text("b-1 b\na-1 a\na-2 a x\n")
    before = {file.name: file.read_bytes() for file in data.iterdir()}
    result = run("--dry-run", data)
    assert result.exit_code == 0
    assert "a-2\t" in result.stdout
    assert "would be changed" in result.stderr
    assert {file.name: file.read_bytes() for file in data.iterdir()} == before


def test_nothing_to_fix_is_said(tmp_path):
    data = make_data(tmp_path / "data", tmp_path)
    result = run(data)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "nothing to fix" in result.stderr


def test_utterances_without_audio_go_if_the_data_is_read(tmp_path, rng):
    data = make_data(tmp_path / "data", tmp_path)
    for key in IDS[:2]:
        soundfile.write(tmp_path / f"{key}.wav", rng.normal(0, 0.1, 800), 8000)
    result = run("--read-data", data)
    assert result.exit_code == 0
    assert "b-1" in result.stdout
    assert "No such file" in result.stdout
    assert (data / "utt2spk").read_text() == "a-1 a\na-2 a\n"
    assert validate(data, read_data=True) == []


def test_what_cannot_be_fixed_is_left_alone(tmp_path):
    data = make_data(tmp_path / "data", tmp_path)
    (data / "wav.scp").write_text("x y\n")
    result = run(data)
    assert result.exit_code == 1
    assert "nothing would be left" in result.stderr
    assert (data / "wav.scp").read_text() == "x y\n"
    assert not (data / ".backup").exists()
