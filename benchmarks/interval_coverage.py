"""How often the 95 % interval holds the true value: simulations with a known EER, where speakers differ.

Scores are sums of normal effects of speakers, utterances and the trial, so that targets and nontargets are normal and
the true EER is known exactly: `Phi(-mean / (deviation of targets + deviation of nontargets))`; true costs come from
the same two distributions.  The comparison has two systems of one true EER that share half of their effects: how
often p falls under 0.05, and how often the interval of the difference holds 0; it is made in every fourth simulation.

    python benchmarks/interval_coverage.py [RUNS [NUM_SPEAKERS]]
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from functools import partial
from statistics import NormalDist

import numpy as np
from common import RESULTS

from sv_toolkit.metrics.detection import OperatingPoint, eer_of_curve, min_dcf_of_curve
from sv_toolkit.metrics.intervals import compare_systems, speaker_bootstrap

UTTERANCE, TRIAL, NONTARGET_SPEAKER, TARGET_SPEAKER = 0.4, 0.7, 0.6, 0.8  # standard deviations of the effects
NORMAL = NormalDist()
REPLICATES = 300
COMPARED = 4  # every so many simulations: a comparison costs twice what an interval does
STATISTICS = {
    "EER": eer_of_curve,
    "minDCF p_target 0.05": partial(min_dcf_of_curve, points=OperatingPoint(0.05)),
    "minDCF p_target 0.01": partial(min_dcf_of_curve, points=OperatingPoint(0.01)),
}
# speakers, utterances of each, design, mean of target scores
SETTINGS = [
    (num, per, design, mean)
    for num, per in ((10, 4), (20, 4), (20, 10), (40, 3), (100, 2))
    for design in ("all pairs", "enroll and test")
    for mean in (3.4, 5.0)
] + [(num, per, "all pairs", mean) for num, per in ((6, 8), (10, 4), (20, 4), (40, 3)) for mean in (0.7, 1.5, 2.3)]  # weak systems

Trials = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def deviations() -> tuple[float, float]:
    """Of target and of nontarget scores."""
    common = 2 * UTTERANCE**2 + TRIAL**2
    return math.sqrt(TARGET_SPEAKER**2 + common), math.sqrt(2 * NONTARGET_SPEAKER**2 + common)


def truths(mean: float) -> dict[str, float]:
    target, nontarget = deviations()
    thresholds = np.linspace(-3, mean + 6, 30_000)
    miss = np.array([NORMAL.cdf((threshold - mean) / target) for threshold in thresholds])
    false_alarm = np.array([NORMAL.cdf(-threshold / nontarget) for threshold in thresholds])
    costs = {name: statistic(miss, false_alarm) for name, statistic in STATISTICS.items()}
    return {**costs, "EER": NORMAL.cdf(-mean / (target + nontarget))}


def sides(num_speakers: int, num_utterances: int, design: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Left and right utterance of every trial, and their speakers; enrollment models are utterances of their own."""
    tests = num_speakers * num_utterances
    if design == "all pairs":
        left, right = np.triu_indices(tests, 1)
        return left, right, left // num_utterances, right // num_utterances
    left, right = np.repeat(np.arange(num_speakers), tests), np.tile(np.arange(tests), num_speakers)
    return left + tests, right, left, right // num_utterances


class Effects:
    """Normal effects of one system; half of their variance is that of `other`, where there is one."""

    def __init__(
        self, num_speakers: int, num_utterances: int, num_trials: int, rng: np.random.Generator, other: Effects | None = None
    ) -> None:
        sizes = (num_speakers, num_speakers, num_speakers * (num_utterances + 1), num_trials)
        own = [rng.normal(size=size) for size in sizes]
        self.values = own if other is None else [math.sqrt(0.5) * (a + b) for a, b in zip(own, other.values)]

    def scores(self, left: np.ndarray, right: np.ndarray, one: np.ndarray, two: np.ndarray, mean: float) -> np.ndarray:
        target_speaker, nontarget_speaker, utterance, trial = self.values
        speakers = np.where(
            one == two, mean + TARGET_SPEAKER * target_speaker[one], NONTARGET_SPEAKER * (nontarget_speaker[one] + nontarget_speaker[two])
        )
        return speakers + UTTERANCE * (utterance[left] + utterance[right]) + TRIAL * trial


def simulated(
    num_speakers: int, num_utterances: int, design: str, mean: float, runs: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray, tuple]]:
    rng = np.random.default_rng(20171028)
    places = sides(num_speakers, num_utterances, design)
    trials, size = (places[2] == places[3], places[2], places[3]), (num_speakers, num_utterances, len(places[0]))
    for run in range(runs):
        base = Effects(*size, rng)
        one, two = Effects(*size, rng, base), Effects(*size, rng, base)
        yield run, one.scores(*places, mean), two.scores(*places, mean), trials


def measure(num_speakers: int, num_utterances: int, design: str, mean: float, runs: int) -> dict:
    truth = truths(mean)
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in STATISTICS}
    tested: dict[str, list[tuple[bool, bool]]] = {name: [] for name in STATISTICS}
    for run, first, second, trials in simulated(num_speakers, num_utterances, design, mean, runs):
        for name, interval in speaker_bootstrap(first, *trials, STATISTICS, REPLICATES, run).items():
            found[name].append((interval.low > truth[name], interval.high < truth[name], interval.high - interval.low))
        compared = compare_systems(first, second, *trials, STATISTICS, REPLICATES, run) if run % COMPARED == 0 else {}
        for name, against in compared.items():
            tested[name].append((against.p_value < 0.05, against.interval.low <= 0 <= against.interval.high))
    rows = {}
    for name in STATISTICS:
        too_high, too_low, width = np.mean(found[name], axis=0)
        rejected, held = np.mean(tested[name], axis=0)
        rows[name] = {
            "truth": truth[name],
            "coverage": 1 - too_high - too_low,
            "truth_below": too_high,
            "truth_above": too_low,
            "mean_width": width,
            "difference_coverage": held,
            "p_under_5_percent": rejected,
        }
    return {"speakers": num_speakers, "utterances": num_utterances, "design": design, "runs": runs, "statistics": rows}


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    chosen = [setting for setting in SETTINGS if len(sys.argv) < 3 or setting[0] == int(sys.argv[2])]
    started, results = time.time(), []
    print(
        f"coverage of the 95 % interval, {runs} simulations each (one deviation of a share near 95 %: {100 * math.sqrt(0.95 * 0.05 / runs):.1f} points)"
    )
    for setting in chosen:
        results.append(measure(*setting, runs))
        for name, row in results[-1]["statistics"].items():
            print(
                f"  {setting[0]:4d} speakers x {setting[1]}, {setting[2]:15s} {name:21s} true {row['truth']:.4f}: covers {100 * row['coverage']:.1f} %"
                f" (truth below {100 * row['truth_below']:.1f}, above {100 * row['truth_above']:.1f}), width {row['mean_width']:.4f};"
                f" difference covers {100 * row['difference_coverage']:.1f} %, p < 0.05 in {100 * row['p_under_5_percent']:.1f} %",
                flush=True,
            )
    RESULTS.mkdir(exist_ok=True)
    record = {"benchmark": "interval_coverage", "replicates": REPLICATES, "seconds": time.time() - started, "settings": results}
    (RESULTS / f"interval_coverage{'_' + sys.argv[2] if len(sys.argv) > 2 else ''}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
