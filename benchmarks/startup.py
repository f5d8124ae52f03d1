"""Seconds from a command line to its help, for every command; the limit is 0.2."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from common import save

from sv_toolkit.cli import COMMANDS

BIN = Path(__file__).resolve().parents[1] / "bin"
ROUNDS = 7


def seconds(name: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, str(BIN / name), "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    times = {name: [seconds(name) for _ in range(ROUNDS + 1)][1:] for name in COMMANDS}
    times["python"] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        times["python"].append(time.perf_counter() - started)
    save("startup", times, reference="python", unit="wall time of --help; limit 200 ms")


if __name__ == "__main__":
    main()
