"""Every shell file of the project passes shellcheck, and recipes hold to the rules that it does not know."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IGNORED = {".venv", ".git", "data", "exp", "build", "dist", "node_modules"}
SHELL = sorted(
    path
    for folder in ("*.sh", ".ci/*", "utils/*", "tests/*/*.sh", "egs/*/*/*.sh")
    for path in ROOT.glob(folder)
    if path.is_file() and (path.suffix == ".sh" or path.read_bytes().startswith((b"#!/usr/bin/env bash", b"#!/bin/sh")))
)
RECIPES = sorted(ROOT.glob("egs/*/*/run.sh"))


def test_no_shell_file_is_overlooked():
    found = {path for path in ROOT.rglob("*.sh") if not IGNORED & set(path.relative_to(ROOT).parts)}
    assert found <= set(SHELL)
    assert ROOT / ".ci/run" in SHELL


@pytest.mark.parametrize("path", SHELL, ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck_finds_nothing(path):
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    result = subprocess.run([shellcheck, "--shell=bash", str(path)], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.parent.name)
def test_a_recipe_stops_at_errors_and_throws_nothing_away(path):
    text = path.read_text()
    assert "set -euo pipefail" in text
    assert "/dev/null" not in text
    assert "|| true" not in text
    stages = [int(number) for number in re.findall(r"if should_run (\d+) ", text)]
    assert stages == list(range(len(stages)))
    assert re.search(rf"^stop_stage={stages[-1]} ", text, re.MULTILINE)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.parent.name)
def test_every_stage_after_the_first_says_what_it_needs(path):
    blocks = re.split(r"^if should_run \d+ .*$", path.read_text(), flags=re.MULTILINE)[2:]
    for number, block in enumerate(blocks, start=1):
        needed = re.findall(r"^  need .+ (\d+)$", block, re.MULTILINE)
        assert needed, f"stage {number} has no need line"
        assert all(int(stage) < number for stage in needed)
