"""Two systems on one trial list: how far they are apart, and whether that can be chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sv_toolkit.data.trials import Trials
from sv_toolkit.metrics.detection import equal_error_rate, min_dcf
from sv_toolkit.metrics.intervals import Difference, compare_systems
from sv_toolkit.reporting.conditions import Origin
from sv_toolkit.reporting.results import Settings, both_kinds, curve_statistics, no_resampling

EER = "EER"


@dataclass(frozen=True)
class Comparison:
    """Rate or cost by label of the `first` and the `second` system; `differences` of them, or `no_interval` says why there are none."""

    first: dict[str, float]
    second: dict[str, float]
    differences: dict[str, Difference]
    num_trials: int
    list_hash: str
    no_interval: str = ""


def compare(trials: Trials, first_scores: np.ndarray, second_scores: np.ndarray, origin: Origin, settings: Settings) -> Comparison:
    """EER and detection costs of two systems, with intervals and p-values of the differences where the speakers are known.

    Args:
        first_scores, second_scores: `(num_trials,)`, finite, aligned with `trials`.

    Raises:
        DataError: there are no labels, no target or no nontarget trial; or the speakers contradict the labels.
    """
    is_target = both_kinds(trials)
    speakers, missing = origin.speakers(trials) if settings.num_replicates else (None, "--num-bootstrap 0")
    missing = missing or (no_resampling(trials, speakers) if speakers else "")
    found: dict[str, Difference] = {}
    if speakers and not missing:
        sides = (is_target, speakers.enroll, speakers.test)
        found = compare_systems(
            first_scores, second_scores, *sides, curve_statistics(settings.costs), settings.num_replicates, settings.seed
        )
    first, second = (_numbers(scores[is_target], scores[~is_target], settings) for scores in (first_scores, second_scores))
    return Comparison(first, second, found, len(trials), trials.short_hash, missing)


def _numbers(target: np.ndarray, nontarget: np.ndarray, settings: Settings) -> dict[str, float]:
    costs = {cost.label: min_dcf(target, nontarget, cost.points) for cost in settings.costs}
    return {EER: equal_error_rate(target, nontarget), **costs}


def comparison_lines(comparison: Comparison, names: tuple[str, str], settings: Settings) -> list[str]:
    """The comparison for people; `names` are those of the two systems, whose difference is the first less the second."""
    lines = [f"difference: {names[0]} - {names[1]}"]
    for label in comparison.first:
        scale, decimals, unit = (100.0, 2, " %") if label == EER else (1.0, 4, "")
        first, second = (scale * numbers[label] for numbers in (comparison.first, comparison.second))
        line = f"{EER if label == EER else 'minDCF':9s} {first:.{decimals}f}{unit} - {second:.{decimals}f}{unit} = {first - second:+.{decimals}f}"
        if label in comparison.differences:
            line += chance(comparison.differences[label], scale, decimals)
        lines.append(line if label == EER else f"{line} at {label}")
    return [*lines, _how(comparison, settings), f"trials    {comparison.num_trials}, list {comparison.list_hash}"]


def chance(found: Difference, scale: float, decimals: int) -> str:
    """What goes behind a difference: interval and p-value; [0, 0] would claim what resampling cannot know."""
    if found.interval.low == found.interval.high == 0:
        return ", the same in every draw of speakers: this list cannot tell how far they are apart"
    ends = f"{scale * found.interval.low:+.{decimals}f}, {scale * found.interval.high:+.{decimals}f}"
    return f" [{ends}], p {probability(found.p_value)}"


def _how(comparison: Comparison, settings: Settings) -> str:
    if not comparison.differences:
        return f"interval  not available: {comparison.no_interval}"
    interval = next(iter(comparison.differences.values())).interval
    how = f"{interval.num_speakers} speakers resampled {interval.num_replicates} times for both systems at once, seed {settings.seed}"
    return f"interval  95 % in brackets, p two-sided, {how}"


def probability(value: float) -> str:
    """`= 0.012` or `< 0.001`."""
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
