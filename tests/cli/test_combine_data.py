from __future__ import annotations

from click.testing import CliRunner

from sv_toolkit.cli.combine_data import command
from sv_toolkit.data.data_dir import write_data_dir
from sv_toolkit.data.validation import validate


def make_data(path, ids, **tables):
    write_data_dir(path, {"wav.scp": {key: f"{key}.wav" for key in ids}, "utt2spk": {key: key[0] for key in ids}, **tables})
    return path


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_directories_are_joined_once(tmp_path):
    a, b = make_data(tmp_path / "a", ["a-1", "b-2"]), make_data(tmp_path / "b", ["b-1"])
    first = run(tmp_path / "out", b, a)
    assert (first.exit_code, first.stdout) == (0, "")
    assert "3 utterances of 2 speakers from 2 directories" in first.stderr
    assert validate(tmp_path / "out") == []
    assert (tmp_path / "out" / "spk2utt").read_text() == "a a-1\nb b-1 b-2\n"
    assert "already done" in run(tmp_path / "out", b, a).stderr


def test_another_directory_is_not_overwritten_unless_told_so(tmp_path):
    a, b = make_data(tmp_path / "a", ["a-1"]), make_data(tmp_path / "b", ["b-1"])
    before = (b / "utt2spk").read_bytes()
    result = run(b, a)
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert (b / "utt2spk").read_bytes() == before
    assert run("--overwrite", b, a).exit_code == 0
    assert (b / "utt2spk").read_bytes() == (a / "utt2spk").read_bytes()


def test_contradictions_are_refused_with_the_place(tmp_path):
    a = make_data(tmp_path / "a", ["a-1"])
    b = make_data(tmp_path / "b", ["a-1"], **{"wav.scp": {"a-1": "other.wav"}})
    result = run(tmp_path / "out", a, b)
    assert result.exit_code == 1
    assert "b/wav.scp:1: duplicate id a-1" in result.stderr
    assert not (tmp_path / "out").exists()


def test_inputs_are_required(tmp_path):
    assert run(tmp_path / "out").exit_code == 2


def test_a_source_is_no_output(tmp_path):
    a, b = make_data(tmp_path / "a", ["a-1"]), make_data(tmp_path / "b", ["b-1"])
    result = run("--overwrite", a, a, b)
    assert result.exit_code == 1
    assert "would replace its own input" in result.stderr
    assert (a / "utt2spk").read_text() == "a-1 a\n"
