"""What the best threshold for every prior could reach: the ROC convex hull, its equal error rate, and the scores that belong to it.

The lower left hull of the operating points is the performance of a detector after the optimal monotone map of its
scores to log-likelihood ratios.  That map is found by pooling adjacent violators (PAV); it and the hull are one
thing seen from two sides (Fawcett and Niculescu-Mizil 2007): a vertex of the hull is a border between two pools.
Equal scores belong to one pool.  Counts are compared as whole numbers, so that no rounding decides about a vertex.
"""

from __future__ import annotations

import math

import numpy as np

from sv_toolkit.metrics.detection import Curve, checked_scores, eer_of_curve

FEWEST_DROPPED = 0.05  # share of points that a pass over all of them must drop to be worth another one


def roc_convex_hull(target_scores: np.ndarray, nontarget_scores: np.ndarray) -> Curve:
    """The corners of the ROC convex hull, in time O(n log n).

    Args:
        target_scores: `(num_targets,)`, finite.
        nontarget_scores: `(num_nontargets,)`, finite.

    Returns:
        `thresholds, miss, false_alarm` as `error_rates`, only at the corners: accept-all first, reject-all last.
        Points on a straight line between two corners are left out.

    Raises:
        ValueError: a side is empty, or a score is not finite.

    >>> roc_convex_hull(np.array([1.0, 3.0]), np.array([0.0, 2.0]))
    (array([ 0.,  1.,  3., inf]), array([0. , 0. , 0.5, 1. ]), array([1. , 0.5, 0. , 0. ]))
    """
    thresholds, missed, rejected = _hull_counts(*checked_scores(target_scores, nontarget_scores))
    return thresholds, missed / missed[-1], 1 - rejected / rejected[-1]


def rocch_eer(target_scores: np.ndarray, nontarget_scores: np.ndarray) -> float:
    """Equal error rate of the ROC convex hull, as a fraction; never above `equal_error_rate`, and never above a half.

    It is the Bayes error at the worst prior, each prior at its best threshold (Brummer and de Villiers 2013).

    >>> rocch_eer(np.array([1.0, 3.0]), np.array([0.0, 2.0]))
    0.25
    """
    _, miss, false_alarm = roc_convex_hull(target_scores, nontarget_scores)
    return eer_of_curve(miss, false_alarm)


def pav_llrs(target_scores: np.ndarray, nontarget_scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The log-likelihood ratios that the optimal monotone map gives these very trials (Brummer and du Preez 2006).

    Returns:
        `(num_targets,)` and `(num_nontargets,)` float64, natural logarithm, for equal priors: `-inf` where a pool holds
        nontargets alone, `inf` where it holds targets alone.  They are optimistic: the map has seen the labels.
    """
    target, nontarget = checked_scores(target_scores, nontarget_scores)
    thresholds, missed, rejected = _hull_counts(target, nontarget)
    with np.errstate(divide="ignore"):
        llrs = np.log(np.diff(missed) / missed[-1]) - np.log(np.diff(rejected) / rejected[-1])
    return llrs[np.searchsorted(thresholds, target, "right") - 1], llrs[np.searchsorted(thresholds, nontarget, "right") - 1]


def min_cllr(target_scores: np.ndarray, nontarget_scores: np.ndarray) -> float:
    """`cllr`, in bits, after the optimal monotone map of the scores (PAV): what calibration cannot fix; from 0 to 1.

    Brummer and du Preez 2006.  No score is clipped: a pool of one kind of trials costs nothing.

    >>> min_cllr(np.array([2.0, 3.0]), np.array([0.0, 1.0]))
    0.0
    >>> min_cllr(np.array([1.0]), np.array([1.0]))
    1.0
    """
    _, missed, rejected = _hull_counts(*checked_scores(target_scores, nontarget_scores))
    targets, nontargets = np.diff(missed) / missed[-1], np.diff(rejected) / rejected[-1]
    both = (targets > 0) & (nontargets > 0)
    targets, nontargets = targets[both], nontargets[both]
    return float(np.sum(targets * np.log2(1 + nontargets / targets) + nontargets * np.log2(1 + targets / nontargets)) / 2)


def _hull_counts(target: np.ndarray, nontarget: np.ndarray) -> Curve:
    """Thresholds at the corners, targets missed and nontargets rejected there (int64)."""
    target, nontarget = np.sort(target), np.sort(nontarget)
    # Raising a threshold up to the next target score only sheds false alarms: every other point lies above the hull.
    distinct = target[np.append(True, target[1:] != target[:-1])]
    thresholds = np.concatenate([[min(target[0], nontarget[0])], distinct, [math.inf]])
    missed = np.concatenate([[0], np.searchsorted(target, distinct), [len(target)]])
    rejected = np.concatenate([[0], np.searchsorted(nontarget, distinct), [len(nontarget)]])
    corners = lower_hull(rejected, missed)
    return thresholds[corners], missed[corners], rejected[corners]


def lower_hull(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Indices of the corners of the lower convex hull of points in the order of x (and of y where x is equal).

    A point on or above the line between its neighbours is no corner; all such are dropped at once, again and again.
    Where that no longer pays, the usual scan with a stack (Andrew 1979) ends it.

    Args:
        x, y: `(num_points,)`, whole numbers below 3e9 (their products must fit in 64 bits); neither falls.
    """
    kept = np.arange(len(x))
    while len(kept) > 2:
        right, up = np.diff(x[kept]), np.diff(y[kept])
        turns_left = np.append(np.insert(right[:-1] * up[1:] > up[:-1] * right[1:], 0, True), True)
        if turns_left.all():
            return kept
        fewer = kept[turns_left]
        if len(kept) - len(fewer) < FEWEST_DROPPED * len(kept):
            return _scan(x, y, fewer)
        kept = fewer
    return kept


def _scan(x: np.ndarray, y: np.ndarray, kept: np.ndarray) -> np.ndarray:
    stack: list[tuple[int, int, int]] = []
    for index, right, up in zip(kept.tolist(), x[kept].tolist(), y[kept].tolist()):
        while len(stack) > 1:
            (_, x0, y0), (_, x1, y1) = stack[-2:]
            if (x1 - x0) * (up - y1) > (y1 - y0) * (right - x1):
                break
            stack.pop()
        stack.append((index, right, up))
    return np.array([index for index, _, _ in stack])
