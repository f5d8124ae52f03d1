#!/usr/bin/env python3
"""How far above minCllr even true log-likelihood ratios come out: minCllr fits a free monotone map to the very trials.

Ratios of targets are normal with mean d^2 / 2 and deviation d, those of nontargets with mean -d^2 / 2: such scores are
their own log-likelihood ratios, and d = -2 probit(EER).

    python benchmarks/calibration_floor.py --targets 944 --nontargets 168709 --eer 0.032
"""

from __future__ import annotations

import argparse
from statistics import NormalDist

import numpy as np

from sv_toolkit.metrics.detection import cllr
from sv_toolkit.metrics.hull import min_cllr


def excess(num_targets: int, num_nontargets: int, eer: float, rng: np.random.Generator) -> float:
    """Cllr over minCllr, less one, of one list of true ratios."""
    separation = -2 * NormalDist().inv_cdf(eer)
    targets = rng.normal(separation**2 / 2, separation, num_targets)
    nontargets = rng.normal(-(separation**2) / 2, separation, num_nontargets)
    return cllr(targets, nontargets) / min_cllr(targets, nontargets) - 1


def main() -> None:
    """Print mean and deviation over the simulated lists."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=944)
    parser.add_argument("--nontargets", type=int, default=168_709)
    parser.add_argument("--eer", type=float, default=0.032)
    parser.add_argument("--lists", type=int, default=100)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    found = [100 * excess(options.targets, options.nontargets, options.eer, rng) for _ in range(options.lists)]
    print(
        f"{options.targets} targets, {options.nontargets} nontargets, EER {100 * options.eer:g} %: "
        f"Cllr of true ratios {np.mean(found):.1f} % above minCllr (deviation {np.std(found):.1f} %, {options.lists} lists)"
    )


if __name__ == "__main__":
    main()
