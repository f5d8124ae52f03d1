"""sv-extract-control as a command."""

from __future__ import annotations

from click.testing import CliRunner

from sv_toolkit.cli.extract_control import command
from sv_toolkit.cli.extract_fbank import command as extract_fbank
from sv_toolkit.io.archives import read_vectors


def run(*arguments, code=0, what=command, name="sv-extract-control"):
    result = CliRunner().invoke(what, [str(argument) for argument in arguments], prog_name=name)
    assert result.exit_code == code, result.output
    return result


def test_every_utterance_gets_a_vector(recordings, tmp_path):
    run("--nj=1", recordings, what=extract_fbank)
    assert "24 vectors" in run(recordings, tmp_path / "control").stderr
    ids, vectors = read_vectors(tmp_path / "control" / "dvector.scp")
    assert len(ids) == 24
    assert vectors.shape == (24, 40)
    assert "already done" in run(recordings, tmp_path / "control").stderr


def test_without_features_the_command_that_makes_them_is_named(recordings, tmp_path):
    result = run(recordings, tmp_path / "control", code=1)
    assert "run sv-extract-fbank" in result.stderr
    assert len(result.stderr.splitlines()) == 1
