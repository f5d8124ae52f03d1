"""Commands, shims, console scripts, help and exit codes are one thing: the COMMANDS table."""

import ast
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sv_toolkit.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
each_command = pytest.mark.parametrize("name", sorted(COMMANDS))
LOUD = "import sys; sys.modules.update(torch=None, scipy=None, numpy=None, soundfile=None)\n"  # importing one is now an error


def run(name, *arguments, **environment):
    words = [sys.executable, str(ROOT / "bin" / name), *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


def test_every_command_has_a_module_and_every_module_a_command():
    modules = {
        path.stem
        for path in (ROOT / "sv_toolkit/cli").glob("*.py")
        if "command = " in path.read_text() or "def command(" in path.read_text()
    }
    assert modules == set(COMMANDS.values())


def test_every_command_has_the_same_executable_shim():
    shims = {path.name: path for path in (ROOT / "bin").iterdir()}
    assert shims.keys() == COMMANDS.keys()
    assert len({path.read_bytes() for path in shims.values()}) == 1
    assert all(path.stat().st_mode & stat.S_IXUSR for path in shims.values())


def test_setup_makes_a_console_script_of_every_command():
    tree = ast.parse((ROOT / "setup.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "entry_points"]
    assert "{name} = sv_toolkit.cli.start:main' for name in commands" in ast.unparse(calls[0].value)
    assert 'constant("sv_toolkit/cli/__init__.py", "COMMANDS")' in (ROOT / "setup.py").read_text()


@each_command
def test_help_imports_nothing_heavy_and_shows_an_example(name, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(LOUD)
    result = run(name, "--help", PYTHONPATH=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    example = result.stdout.split("Example:")
    assert len(example) == 2, "one example section"
    assert re.search(rf"^\s+{name} ", example[1], re.MULTILINE)


@each_command
def test_an_unknown_option_is_the_command_lines_fault(name):
    result = run(name, "--no-such-option", "1")
    assert (result.returncode, result.stdout) == (2, "")
    assert "no-such-option" in result.stderr.lower()
    assert "Traceback" not in result.stderr


@each_command
def test_missing_arguments_are_the_command_lines_fault(name):
    result = run(name)
    assert (result.returncode, result.stdout) == (2, "")
    assert "missing" in result.stderr.lower()


@each_command
def test_options_of_the_example_exist(name):
    """An example that the command itself would refuse teaches the wrong thing."""
    text = run(name, "--help").stdout
    options, example = text.split("Options:")[1], text.split("Example:")[1].split("Options:")[0]
    known = set(re.findall(r"(--[\w-]+|-\w\b)", options))
    for line in example.splitlines():
        if line.strip().startswith(name + " "):
            used = set(re.findall(r"(?<=\s)(--[\w-]+|-\w\b)", line.split(">")[0]))
            assert used <= known, f"{used - known} in: {line.strip()}"
