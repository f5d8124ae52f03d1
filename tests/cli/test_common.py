"""What a user can cause is one line and an exit code; a fault of ours keeps its traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sv_toolkit.cli.common import SvCommand
from sv_toolkit.errors import DataError

ROOT = Path(__file__).resolve().parents[2]


def result_of(error):
    @click.command(cls=SvCommand)
    def command():
        raise error

    return CliRunner().invoke(command, [])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DataError("x:3: no"), "error: x:3: no"),
        (ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"), "the package torch is needed and is not installed"),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_users_problem_is_one_line(error, words):
    result = result_of(error)
    assert result.exit_code == 1
    assert words in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize("error", [ModuleNotFoundError("x", name="sv_toolkit.gone"), ZeroDivisionError("x")])
def test_a_fault_of_ours_is_not_hidden(error):
    assert result_of(error).exception is error


def write_program(path, *lines):
    """A program of one command, whose definition is `lines`."""
    head = ["import sys", f"sys.path.insert(0, {str(ROOT)!r})", "import click", "from sv_toolkit.cli.common import SvCommand"]
    path.write_text("\n".join([*head, "@click.command(cls=SvCommand)", *lines, "command()", ""]))
    return path


def test_names_of_files_are_utf_8_whatever_the_locale(tmp_path):
    program = write_program(
        tmp_path / "sv-name",
        "@click.argument('name')",
        "def command(name):",
        "    click.echo(f'{name} {sys.getfilesystemencoding()} {open(name).read()}')",
    )
    name = tmp_path / "дом-é.txt"
    name.write_text("ok")
    plain_c = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, program, name], env=plain_c, capture_output=True)
    assert done.stdout.decode() == f"{name} utf-8 ok\n", done.stderr


def test_a_name_in_an_error_is_escaped():
    result = result_of(FileNotFoundError(2, "No such file", "a\x1b[31mb"))
    assert result.exit_code == 1
    assert "a\\x1b[31mb: No such file" in result.stderr and "\x1b" not in result.stderr


@pytest.mark.parametrize(("own", "found"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_of_a_command_wait_asleep_unless_the_user_says_otherwise(tmp_path, own, found):
    program = write_program(tmp_path / "sv-wait", "def command():", "    import torch")
    environment = {**{key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}, "OMP_DISPLAY_ENV": "TRUE", **own}
    result = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True)
    if "OMP_WAIT_POLICY" not in result.stderr:
        pytest.skip("this build of torch does not show the settings of its OpenMP library")
    assert f"OMP_WAIT_POLICY = '{found}'" in result.stderr  # as the library itself read it
