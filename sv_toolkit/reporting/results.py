"""The result of an evaluation: numbers, how sure they are, and of which trials; as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from sv_toolkit.data.trials import Trials
from sv_toolkit.errors import DataError
from sv_toolkit.io.tables import place
from sv_toolkit.metrics.detection import (
    COSTS,
    OperatingPoint,
    actual_dcf,
    cllr,
    eer_of_curve,
    eer_operating_point,
    equal_error_rate,
    false_alarm_rate_at,
    false_reject_rate_at,
    min_dcf,
    min_dcf_of_curve,
)
from sv_toolkit.metrics.hull import min_cllr, rocch_eer
from sv_toolkit.metrics.intervals import Interval, Statistic, affordable_replicates, speaker_bootstrap
from sv_toolkit.reporting.conditions import Origin, TrialSpeakers, split_by

logger = logging.getLogger("sv_toolkit")

DEFAULT_P_TARGETS = (0.01, 0.05)
FEW_TARGETS = 30
FEW_SPEAKERS = 10


@dataclass(frozen=True)
class Cost:
    """A detection cost at `points` (the mean over them), under the `label` it is printed with."""

    label: str
    points: tuple[OperatingPoint, ...]


def chosen_costs(p_targets: Sequence[float], names: Sequence[str]) -> tuple[Cost, ...]:
    """Costs by prior of a target and by name of an evaluation; without either, those of VoxCeleb and VoxSRC."""
    if not p_targets and not names:
        p_targets = DEFAULT_P_TARGETS
    by_prior = [Cost(f"p_target {p:g}", (OperatingPoint(p),)) for p in dict.fromkeys(p_targets)]
    return *by_prior, *(Cost(name, COSTS[name]) for name in dict.fromkeys(names))


@dataclass(frozen=True)
class Settings:
    """What to compute: costs, bootstrap replicates (0 for no intervals) and their seed.

    Calibrated scores have actual costs and Cllr; `hull` asks for what the ROC convex hull says; the rates (fractions)
    are false alarms at which misses are wanted, and misses at which false alarms are.
    """

    costs: tuple[Cost, ...]
    num_replicates: int = 1000
    seed: int = 0
    calibrated: bool = False
    hull: bool = False
    at_false_alarms: tuple[float, ...] = ()
    at_misses: tuple[float, ...] = ()


@dataclass(frozen=True)
class Measured:
    """A number with its interval, where there is one."""

    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Evaluation:
    """Error rates (fractions), costs by label, counts; `no_interval` says why there are no intervals.

    `rates` (fractions) and `bits` are what `Settings` ask for besides, by label.

    Without trials of both kinds there is no `eer` and there are no costs.
    """

    num_targets: int
    num_nontargets: int
    num_speakers: int | None
    list_hash: str
    eer: Measured | None = None
    threshold: float | None = None
    min_dcf: dict[str, Measured] = field(default_factory=dict)
    actual_dcf: dict[str, float] = field(default_factory=dict)
    no_interval: str = ""
    rates: dict[str, float] = field(default_factory=dict)
    bits: dict[str, float] = field(default_factory=dict)


Results = dict[str, Evaluation]
ALL = "all trials"


def evaluate_by(trials: Trials, scores: np.ndarray, origin: Origin, settings: Settings, *conditions: str) -> Results:
    """The evaluation of all trials, and of those of each of the `conditions` (see `split_by`), by name.

    Args:
        scores: `(num_trials,)`, finite, aligned with `trials`.

    Raises:
        DataError: there are no labels, no target or no nontarget trial; speakers contradict the labels; a map is missing.
    """
    parts = chain.from_iterable(split_by(trials, condition, origin) for condition in dict.fromkeys(conditions))
    return evaluate_parts(trials, scores, origin, settings, parts)


def evaluate_parts(
    trials: Trials, scores: np.ndarray, origin: Origin, settings: Settings, parts: Iterable[tuple[str, np.ndarray]]
) -> Results:
    """The evaluation of all trials, and of those under each named mask `(num_trials,)`; raises as `evaluate_by`."""
    both_kinds(trials)
    speakers, missing = origin.speakers(trials) if settings.num_replicates else (None, "--num-bootstrap 0")
    results = {ALL: evaluate(trials, scores, speakers, settings, missing)}
    for name, chosen in parts:
        results[name] = _evaluate_part(trials, scores, speakers, settings, missing, chosen)
    return results


def _evaluate_part(
    trials: Trials, scores: np.ndarray, speakers: TrialSpeakers | None, settings: Settings, missing: str, chosen: np.ndarray
) -> Evaluation:
    is_target = both_kinds(trials)[chosen]
    part = dataclasses.replace(trials, enroll_index=trials.enroll_index[chosen], test_index=trials.test_index[chosen], is_target=is_target)
    num_targets = int(is_target.sum())
    if num_targets in (0, len(part)):
        return Evaluation(num_targets, len(part) - num_targets, None, trials.short_hash)
    evaluation = evaluate(part, scores[chosen], None if speakers is None else speakers.of(chosen), settings, missing)
    return dataclasses.replace(evaluation, list_hash=trials.short_hash)


def evaluate(trials: Trials, scores: np.ndarray, speakers: TrialSpeakers | None, settings: Settings, missing: str = "") -> Evaluation:
    """EER and detection costs of scored trials with labels.

    Args:
        scores: `(num_trials,)`, finite, aligned with `trials`.
        speakers: of the trials; None for no intervals, and `missing` says why.

    Raises:
        DataError: there is no target or no nontarget trial.
    """
    is_target = both_kinds(trials)
    target, nontarget = scores[is_target], scores[~is_target]
    point = eer_operating_point(target, nontarget)
    intervals, missing = _intervals(trials, scores, speakers, settings) if speakers else ({}, missing)
    return Evaluation(
        num_targets=len(target),
        num_nontargets=len(nontarget),
        num_speakers=speakers.num_speakers if speakers else None,
        list_hash=trials.short_hash,
        eer=Measured(point.rate, intervals.get("EER")),
        threshold=point.threshold,
        min_dcf={cost.label: Measured(min_dcf(target, nontarget, cost.points), intervals.get(cost.label)) for cost in settings.costs},
        actual_dcf={cost.label: actual_dcf(target, nontarget, cost.points) for cost in settings.costs if settings.calibrated},
        no_interval=missing,
        rates=_rates(target, nontarget, settings),
        bits=_bits(target, nontarget, settings),
    )


def _rates(target: np.ndarray, nontarget: np.ndarray, settings: Settings) -> dict[str, float]:
    misses = {f"FRR at FAR {100 * rate:g} %": false_reject_rate_at(target, nontarget, rate) for rate in settings.at_false_alarms}
    false_alarms = {f"FAR at FRR {100 * rate:g} %": false_alarm_rate_at(target, nontarget, rate) for rate in settings.at_misses}
    return {**({"ROCCH-EER": rocch_eer(target, nontarget)} if settings.hull else {}), **misses, **false_alarms}


def _bits(target: np.ndarray, nontarget: np.ndarray, settings: Settings) -> dict[str, float]:
    found = {"Cllr": cllr(target, nontarget)} if settings.calibrated else {}
    return {**found, **({"minCllr": min_cllr(target, nontarget)} if settings.hull or settings.calibrated else {})}


def both_kinds(trials: Trials) -> np.ndarray:
    """The labels, of which there are both kinds.

    Raises:
        DataError: otherwise; an error rate needs both.
    """
    where = place(trials.path)
    if trials.is_target is None:
        raise DataError(f"{where}: has no labels (a third column target or nontarget); they are needed to count errors")
    if not trials.is_target.any():
        raise DataError(f"{where}: no target trial among {len(trials)}; an error rate needs target and nontarget trials")
    if trials.is_target.all():
        raise DataError(f"{where}: no nontarget trial among {len(trials)}; an error rate needs target and nontarget trials")
    return trials.is_target


def _intervals(trials: Trials, scores: np.ndarray, speakers: TrialSpeakers, settings: Settings) -> tuple[dict[str, Interval], str]:
    """Intervals by name, or why there are none."""
    reason = no_resampling(trials, speakers)
    if reason:
        return {}, reason
    statistics = curve_statistics(settings.costs)
    made = affordable_replicates(len(trials), settings.num_replicates)
    if made < settings.num_replicates:
        logger.info("%d trials: intervals come from %d replicates instead of %d", len(trials), made, settings.num_replicates)
    return speaker_bootstrap(scores, both_kinds(trials), speakers.enroll, speakers.test, statistics, made, settings.seed), ""


def no_resampling(trials: Trials, speakers: TrialSpeakers) -> str:
    """Why the speakers of these trials cannot be resampled; "" where they can."""
    with_targets = len(np.unique(speakers.enroll[both_kinds(trials)]))
    return "" if with_targets >= 3 else f"only {with_targets} speaker{'s have' if with_targets > 1 else ' has'} target trials"


def curve_statistics(costs: Sequence[Cost]) -> dict[str, Statistic]:
    """The EER and the costs as functions of an error curve, by the labels they are printed under."""
    return {"EER": eer_of_curve, **{cost.label: partial(min_dcf_of_curve, points=cost.points) for cost in costs}}


def warn(trials: Trials, scores: np.ndarray, results: Results) -> None:
    """Say what makes the result on all trials weak or meaningless."""
    where, evaluation = place(trials.path), results[ALL]
    if scores.min() == scores.max():
        logger.warning("all scores are equal (%g): they tell nothing apart", scores[0])
    is_target = both_kinds(trials)
    with np.errstate(over="ignore"):  # finite scores can have an infinite sum
        is_lower = scores[is_target].mean() < scores[~is_target].mean()
    if is_lower and evaluation.eer is not None and evaluation.eer.value > 0.5:
        logger.warning(
            "scores of targets are lower than those of nontargets: are they distances, or are the labels swapped? A score has to be"
            " higher where it is one speaker; for distances, write their negatives"
        )
    if evaluation.num_targets < FEW_TARGETS:
        count = "1 target trial" if evaluation.num_targets == 1 else f"{evaluation.num_targets} target trials"
        logger.warning("%s: few target trials: a rate from %s is rough", where, count)
    if evaluation.eer is None or evaluation.eer.interval is None:
        return
    interval = evaluation.eer.interval
    if interval.num_speakers < FEW_SPEAKERS:
        logger.warning("%s: few speakers: an interval from %d speakers is rough", where, interval.num_speakers)
    if evaluation.eer.value == 0:
        logger.warning(
            "%s: no errors: the upper end of the EER comes from the number of target trials, not from how speakers differ", where
        )


def text_lines(results: Results, settings: Settings) -> list[str]:
    """The results for people, each with the trials it is of."""
    lines = []
    for name, evaluation in results.items():
        lines += ([f"{name}:"] if len(results) > 1 else []) + _text_lines(evaluation, settings)
    return lines


def _text_lines(evaluation: Evaluation, settings: Settings) -> list[str]:
    trials = f"trials    {evaluation.num_targets} target, {evaluation.num_nontargets} nontarget, list {evaluation.list_hash}"
    if evaluation.eer is None:
        return ["EER       not defined: trials of one kind only", trials]
    lines = [f"EER       {percent(evaluation.eer)} at threshold {evaluation.threshold:.4f}"]
    lines += [f"minDCF    {_cost(value)} at {label}" for label, value in evaluation.min_dcf.items()]
    lines += [f"actDCF    {value:.4f} at {label}" for label, value in evaluation.actual_dcf.items()]
    lines += [f"{label:9s} {value:.4f} bits" for label, value in evaluation.bits.items()]
    lines += [f"{label:9s} {100 * value:.2f} %" for label, value in evaluation.rates.items()]
    interval = evaluation.eer.interval
    if interval is None:
        lines.append(f"interval  not available: {evaluation.no_interval}")
    else:
        how = f"{interval.num_speakers} speakers resampled {interval.num_replicates} times, seed {settings.seed}"
        lines.append(f"interval  95 % in brackets, {how}")
    return [*lines, trials]


def percent(measured: Measured) -> str:
    """`5.12 % [4.01, 6.43]`."""
    interval = measured.interval
    return f"{100 * measured.value:.2f} %" + (f" [{100 * interval.low:.2f}, {100 * interval.high:.2f}]" if interval else "")


def _cost(measured: Measured) -> str:
    interval = measured.interval
    return f"{measured.value:.4f}" + (f" [{interval.low:.4f}, {interval.high:.4f}]" if interval else "")


def as_json(results: Mapping[str, Any]) -> str:
    """Everything at full precision, of results and of whatever other record stands beside them; rates are fractions."""
    table = {name: dataclasses.asdict(record) for name, record in results.items()}
    return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


def one_line(trials: Trials, scores: np.ndarray, num_missing: int, list_hash: str) -> str:
    """What came of scoring: the EER where the labels allow one, the counts, the list, and what was left out."""
    num_targets = trials.num_targets
    left_out = f"; {num_missing} of {len(trials) + num_missing} trials left out: no embedding" if num_missing else ""
    if trials.is_target is None or num_targets in (0, len(trials)):
        kinds = "no labels" if trials.is_target is None else "only nontargets" if num_targets == 0 else "only targets"
        return f"{len(trials)} trials scored, list {list_hash} ({kinds}, so no EER){left_out}"
    rate = equal_error_rate(scores[trials.is_target], scores[~trials.is_target])
    return f"EER {100 * rate:.2f} %: {num_targets} target, {len(trials) - num_targets} nontarget, list {list_hash}{left_out}"
