"""Timing side by side: contenders alternate in one process, medians and ratios are printed, JSON is kept."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def alternate(contenders: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """CPU seconds of each contender in each round, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(rounds + 1):
        for name, run in contenders.items():
            started = time.process_time()
            run()
            if round_:
                times[name].append(time.process_time() - started)
    return times


def save(name: str, times: dict[str, list[float]], reference: str, unit: str, **more: object) -> None:
    """Print medians and how many times faster than `reference` each is, and write benchmarks/results/NAME.json."""
    medians = {contender: statistics.median(values) for contender, values in times.items()}
    print(f"{name}: {unit}")
    for contender, median in medians.items():
        print(f"  {contender:28s} {1000 * median:10.2f} ms   {medians[reference] / median:6.2f} x {reference}")
    RESULTS.mkdir(exist_ok=True)
    record = {
        "benchmark": name,
        "unit": unit,
        "cpu_seconds": times,
        "median": medians,
        "machine": platform.processor() or platform.machine(),
        **more,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
