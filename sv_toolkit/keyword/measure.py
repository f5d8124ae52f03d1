"""How good a detector is: misses against false alarms an hour, each with its interval; where segments lie beside known times."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from sv_toolkit.metrics.proportions import wilson

DEVIATIONS = 1.959964  # of a 95 % interval


class OperatingPoint(NamedTuple):
    """The lowest threshold at which no more than the allowed false alarms remain; detections above it count, not those at it.

    `interval` is Wilson's for the share of misses, `alarm_interval` Garwood's for the false alarms an hour, both at 95 %.
    """

    threshold: float
    miss: float
    interval: tuple[float, float]
    num_alarms: int
    alarms_per_hour: float
    alarm_interval: tuple[float, float]


def operating_point(best: np.ndarray, alarms: np.ndarray, hours: float, per_hour: float) -> OperatingPoint:
    """Misses at `per_hour` false alarms an hour.

    Args:
        best: `(num_recordings,)` confidence of the best detection of the word in each recording of it; 0 where there is none.
        alarms: `(num_alarms,)` confidences of all detections in the background.
        hours: length of the background.
    """
    if len(best) == 0 or hours <= 0:
        raise ValueError("misses need recordings of the word, and false alarms an hour need background")
    falling = np.sort(np.asarray(alarms, dtype=np.float64))[::-1]
    allowed = math.floor(per_hour * hours + 1e-9)
    threshold = float(falling[allowed]) if allowed < len(falling) else 0.0
    miss = float((best <= threshold).mean())
    count = int((falling > threshold).sum())
    low, high = poisson_interval(count)
    return OperatingPoint(threshold, miss, wilson(miss, len(best), DEVIATIONS), count, count / hours, (low / hours, high / hours))


def curve(best: np.ndarray, alarms: np.ndarray, hours: float) -> tuple[np.ndarray, np.ndarray]:
    """False alarms an hour, rising, and misses, `(num_points,)` each: one point for every number of false alarms there can be."""
    falling = np.sort(np.asarray(alarms, dtype=np.float64))[::-1]
    thresholds = np.unique(np.append(falling, 0.0))[::-1]
    counts = np.array([(falling > threshold).sum() for threshold in thresholds])
    return counts / hours, np.array([(best <= threshold).mean() for threshold in thresholds])


def poisson_interval(count: int, level: float = 0.95) -> tuple[float, float]:
    """The means with which so few, or so many, events are not rarer than (1 - level) / 2: the exact interval (Garwood 1936).

    >>> low, high = poisson_interval(0)
    >>> low, round(high, 3)
    (0.0, 3.689)
    """
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else _mean_where(lambda mean: 1 - _poisson_cdf(count - 1, mean), tail, rises=True)
    return low, _mean_where(lambda mean: _poisson_cdf(count, mean), tail, rises=False)


def _poisson_cdf(count: int, mean: float) -> float:
    logs = [k * math.log(mean) - mean - math.lgamma(k + 1) for k in range(count + 1)]
    return math.fsum(map(math.exp, logs))


def _mean_where(probability: Callable[[float], float], wanted: float, rises: bool) -> float:
    low, high = 1e-9, 1e6
    for _ in range(200):
        mean = (low + high) / 2
        low, high = (mean, high) if (probability(mean) < wanted) == rises else (low, mean)
    return (low + high) / 2


class Agreement(NamedTuple):
    """How segments lie beside the known times of words.

    `covered` is the mean share of a word within its segment, `whole` the share of words of which 90 % are, `offset` the median
    distance of the middles in seconds (later segments: above 0) and `spread` the median of its size.
    """

    covered: float
    whole: float
    offset: float
    spread: float


def agreement(segments: Sequence[tuple[float, float]], words: Sequence[tuple[float, float]]) -> Agreement:
    """Segments and words, (start, end) in seconds each, in the same order."""
    found, known = np.asarray(segments, dtype=np.float64), np.asarray(words, dtype=np.float64)
    overlap = np.maximum(np.minimum(found[:, 1], known[:, 1]) - np.maximum(found[:, 0], known[:, 0]), 0)
    share = overlap / (known[:, 1] - known[:, 0])
    offset = found.mean(axis=1) - known.mean(axis=1)
    return Agreement(float(share.mean()), float((share >= 0.9).mean()), float(np.median(offset)), float(np.median(np.abs(offset))))
