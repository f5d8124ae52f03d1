"""Real clusters on this machine: a Slurm of one node, and torchrun over two hosts; skipped by name where programs are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SKIPPED = 77


@pytest.mark.parametrize("script", ["run_slurm.sh", "run_two_hosts.sh"])
def test_the_script_ends_well(script):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run([str(Path(__file__).parent / script)], capture_output=True, text=True, timeout=600, env=environment)
    if result.returncode == SKIPPED:
        pytest.skip(result.stdout.strip().splitlines()[-1])
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1].endswith("OK")
