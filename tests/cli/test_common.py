"""What a user can cause is one line and an exit code; a fault of ours keeps its traceback."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from sv_toolkit.cli.common import SvCommand
from sv_toolkit.errors import DataError


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
