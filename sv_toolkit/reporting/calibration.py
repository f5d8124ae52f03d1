"""What a calibration did: costs of the ratios beside the best that these scores allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sv_toolkit.metrics.detection import OperatingPoint, actual_dcf, cllr, min_dcf
from sv_toolkit.metrics.hull import min_cllr

Labelled = tuple[str, np.ndarray, np.ndarray]


def cost_table(systems: Sequence[Labelled], p_targets: Sequence[float]) -> list[str]:
    """A line for each system: Cllr and detection costs of its values as natural log-likelihood ratios, and the lowest possible.

    Args:
        systems: name, values `(num_trials,)` and labels `(num_trials,)` bool of each.
        p_targets: priors of the detection costs.
    """
    head = ["Cllr", "min Cllr", *(f"{kind}({p:g})" for p in p_targets for kind in ("actDCF", "minDCF"))]
    width = max(len(name) for name, _, _ in systems)
    lines = [" ".join([" " * width, *(f"{word:>12s}" for word in head)])]
    for name, values, is_target in systems:
        costs = _costs(values[is_target], values[~is_target], p_targets)
        lines.append(" ".join([f"{name:{width}s}", *(f"{cost:12.4f}" for cost in costs)]))
    return lines


def _costs(target: np.ndarray, nontarget: np.ndarray, p_targets: Sequence[float]) -> list[float]:
    points = [OperatingPoint(p) for p in p_targets]
    detection = [cost for point in points for cost in (actual_dcf(target, nontarget, point), min_dcf(target, nontarget, point))]
    return [cllr(target, nontarget), min_cllr(target, nontarget), *detection]
