"""A step of several processes launches hardly more kernels than a step of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize("network", ["resnet", "ecapa_tdnn", "rescnn"])
def test_two_processes_launch_at_most_a_third_more_kernels_than_one(network):
    command = [sys.executable, str(BENCHMARKS / "kernels.py"), "--network", network, "--statistics", "own"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert output.returncode == 0, output.stderr
    line = next(line for line in output.stdout.splitlines() if network in line)
    one, two = (int(word) for word in line.split()[-4:-2])
    assert one > 100 and two <= 1.3 * one
