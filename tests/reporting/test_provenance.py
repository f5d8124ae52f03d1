"""Commit, machine and time beside a result."""

from __future__ import annotations

import re
import subprocess

import pytest

from sv_toolkit import __version__
from sv_toolkit.reporting import provenance


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A clone whose code is the module under test."""
    module = tmp_path / "sv_toolkit" / "reporting" / "provenance.py"
    module.parent.mkdir(parents=True)
    module.write_text("code\n")
    (tmp_path / "RESULTS.md").write_text("results\n")
    monkeypatch.setattr(provenance, "__file__", str(module))
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    return tmp_path, module


def test_commit_says_whether_the_code_was_changed_but_not_whether_results_were(checkout):
    root, module = checkout
    clean = provenance.commit()
    assert re.fullmatch("[0-9a-f]{10}", clean)
    (root / "RESULTS.md").write_text("more results\n")
    (root / "exp").mkdir()
    (root / "exp" / "scores").write_text("untracked\n")
    assert provenance.commit() == clean
    module.write_text("other code\n")
    assert provenance.commit() == f"{clean}+changes"


def test_outside_a_checkout_the_version_stands_in(checkout, tmp_path, monkeypatch):
    inner = tmp_path / "site-packages" / "sv_toolkit" / "reporting" / "provenance.py"  # an installation inside a checkout of something else
    monkeypatch.setattr(provenance, "__file__", str(inner))
    assert provenance.commit() == f"version {__version__}"


def test_without_git_the_version_stands_in(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == f"version {__version__}"


def test_machine_day_and_time_are_said():
    found = provenance.provenance(59.6, "./run.sh")
    assert re.fullmatch(r".+, \d+ cores?", found.hardware)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found.date)
    assert (found.wall_time, found.command) == ("1 min 00 s", "./run.sh")
    assert provenance.provenance(None, "").wall_time == ""


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 01 s"), (3600, "60 min 00 s")])
def test_durations_are_minutes_and_seconds(seconds, text):
    assert provenance.duration(seconds) == text


def test_gpus_are_named_with_driver_and_libraries(tmp_path):
    for number in range(2):
        folder = tmp_path / f"gpus/0000:0{number}"
        folder.mkdir(parents=True)
        (folder / "information").write_text("Model: \t\t NVIDIA H200\nIRQ: 1\n")
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n")
    (found,) = provenance._gpus(tmp_path)
    assert found.startswith("2 x NVIDIA H200, ") and "driver 580.65.06" in found and "torch 2" in found
    assert provenance._gpus(tmp_path / "none") == []
