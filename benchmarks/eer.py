"""Equal error rate of 1e5 to 1e7 trials: ours against scikit-learn's curve with a root finder, time and extra memory.

Each measurement is a process of its own, in turns: extra memory is the peak of the process over what it held
before the call, with the scores already there.  A tenth of the trials are targets; scores are float64.

At 1e8 trials scores are float32 (400 MB), and ours stands against our histogram, which needs them in chunks only;
the peak is that of the whole process.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from common import save

SIZES = (100_000, 1_000_000, 10_000_000)
HUGE = 100_000_000
ROUNDS = 3


def ours() -> Callable[[np.ndarray, np.ndarray], float]:
    from sv_toolkit.metrics.detection import equal_error_rate

    return equal_error_rate


def scikit_learn() -> Callable[[np.ndarray, np.ndarray], float]:
    from scipy.interpolate import interp1d
    from scipy.optimize import brentq
    from sklearn.metrics import roc_curve

    def usual_recipe(target: np.ndarray, nontarget: np.ndarray) -> float:
        scores = np.concatenate([target, nontarget])
        keys = np.concatenate([np.ones(len(target), np.int8), np.zeros(len(nontarget), np.int8)])
        false_alarm, hit, _ = roc_curve(keys, scores)
        return float(brentq(lambda rate: 1.0 - rate - interp1d(false_alarm, hit)(rate), 0.0, 1.0))

    return usual_recipe


def histogram() -> Callable[[np.ndarray, np.ndarray], float]:
    from sv_toolkit.metrics.streaming import ScoreHistogram

    def counted(target: np.ndarray, nontarget: np.ndarray) -> float:
        found = ScoreHistogram()
        found.add_scores(target, nontarget)
        return found.equal_error_rate().value

    return counted


CONTENDERS = {"ours": ours, "scikit-learn": scikit_learn, "histogram": histogram}


def measure(name: str, num_trials: int) -> dict[str, float]:
    """In this process: seconds, extra megabytes, and the EER."""
    function = CONTENDERS[name]()
    rng = np.random.default_rng(0)
    dtype = np.float32 if num_trials >= HUGE else np.float64
    target, nontarget = (rng.standard_normal(size, dtype) for size in (num_trials // 10, num_trials - num_trials // 10))
    target += 2
    function(target[:1000].copy(), nontarget[:1000].copy())  # imports and first calls do not count
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    rate = function(target, nontarget)
    seconds, peak = time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "extra_mb": (peak - before) / 1024, "peak_mb": peak / 1024, "eer": rate}


def measured_apart(name: str, num_trials: int) -> dict[str, float]:
    command = [sys.executable, __file__, name, str(num_trials)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(num_trials: int, names: tuple[str, ...], limits: str) -> None:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name, runs in found.items():
            runs.append(measured_apart(name, num_trials))
    extra, peak = ({name: statistics.median(run[key] for run in runs) for name, runs in found.items()} for key in ("extra_mb", "peak_mb"))
    rates = {name: runs[0]["eer"] for name, runs in found.items()}
    times = {name: [run["seconds"] for run in runs] for name, runs in found.items()}
    unit = f"EER of {num_trials:.0e} trials; limits: {limits}"
    save(f"eer_{num_trials}", times, reference=names[-1], unit=unit, extra_mb=extra, peak_mb=peak, eer=rates)
    print("  extra memory: " + ", ".join(f"{name} {value:.0f} MB" for name, value in extra.items()))
    print("  peak memory: " + ", ".join(f"{name} {value:.0f} MB" for name, value in peak.items()))
    print("  EER: " + ", ".join(f"{name} {100 * value:.4f} %" for name, value in rates.items()))


def main() -> None:
    compare(HUGE, ("ours", "histogram"), "30 s and 4 GB")
    try:
        import sklearn  # noqa: F401
    except ImportError:
        print("eer: the shorter lists are skipped, scikit-learn is not installed (pip install scikit-learn)")
        return
    for num_trials in SIZES:
        compare(num_trials, ("ours", "scikit-learn"), "at 1e7 a third of the time, 300 MB")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
