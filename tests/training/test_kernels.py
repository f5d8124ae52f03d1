"""A step of several processes launches hardly more kernels than a step of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


NETWORKS = ["resnet", "ecapa_tdnn", "rescnn"]


def test_two_processes_launch_at_most_a_third_more_kernels_than_one():
    """All networks in one run: its processes start, and import torch, once."""
    chosen = [word for network in NETWORKS for word in ("--network", network)]
    command = [sys.executable, str(BENCHMARKS / "kernels.py"), *chosen, "--statistics", "own"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert output.returncode == 0, output.stderr
    for network in NETWORKS:
        line = next(line for line in output.stdout.splitlines() if line.startswith(f"{network} "))
        one, two = (int(word) for word in line.split()[-4:-2])
        assert one > 100 and two <= 1.3 * one, line
