"""Parts of a report that scored trials give: results, error curves, histograms, conditions, hard trials."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np

from sv_toolkit.metrics.detection import det_points, probit
from sv_toolkit.reporting.axes import Labels
from sv_toolkit.reporting.breakdown import known_conditions, parts_by
from sv_toolkit.reporting.charts import Bars, DetCurve, Dot, det_chart, dot_whisker, histogram
from sv_toolkit.reporting.comparison import EER, Comparison, chance, compare
from sv_toolkit.reporting.page import Chart, Grid, Section, folded, identifier, isolated, paragraph, side_by_side, table
from sv_toolkit.reporting.results import ALL, Evaluation, Measured, Results, Settings, evaluate_parts, percent
from sv_toolkit.reporting.svg import Markup, cut, joined
from sv_toolkit.reporting.systems import System

DET_POINTS = 300  # of a curve: more cannot be seen
BINS = 60
HARD_TRIALS = 12
RATES = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2)  # false-alarm rates that the table of a DET chart holds
UNDEFINED = "–"

Evaluations = Mapping[str, Mapping[str, Results]]  # condition ("" for none) -> system -> results


def evaluate_systems(systems: Sequence[System], settings: Settings) -> Evaluations:
    """Every system on all its trials, and by every condition that its data directory knows.

    Raises:
        DataError: trials of one kind only; speakers contradict the labels; a map is damaged.
    """
    found: dict[str, dict[str, Results]] = {"": {}}
    for system in systems:
        conditions = known_conditions(system.origin)
        parts = [
            (f"{place}\n{name}", mask)
            for place, each in enumerate(conditions)
            for name, mask in parts_by(system.trials, each, system.origin)
        ]
        own = dataclasses.replace(settings, calibrated=system.is_llr, hull=True)
        results = evaluate_parts(system.trials, system.scores, system.origin, own, parts)
        found[""][system.name] = {ALL: results.pop(ALL)}
        for key, evaluation in results.items():
            place, _, name = key.partition("\n")
            found.setdefault(conditions[int(place)], {}).setdefault(system.name, {})[name] = evaluation
    return found


def result_section(systems: Sequence[System], evaluations: Evaluations, settings: Settings) -> Section:
    """The numbers of every system with their intervals."""
    labels = [cost.label for cost in settings.costs]
    tables = [table(_result_grid(systems, evaluations, labels))]
    if compared := _comparisons(systems, settings):
        heads = ["Systems", *(f"{label} [95 %], p" for label in ("EER, difference in %", *(f"minDCF, {label}" for label in labels)))]
        tables.append(
            table(Grid(f"Differences from {systems[0].name} on the same trials", heads, compared, frozenset(range(1, len(heads)))))
        )
    return Section("results", "Results", joined(*tables, *(paragraph(line) for line in _how(systems, evaluations, settings))))


def _result_grid(systems: Sequence[System], evaluations: Evaluations, labels: Sequence[str]) -> Grid:
    """A row of each system; trials and speakers have columns only where they differ, as the table is wide enough."""
    found = [evaluations[""][system.name][ALL] for system in systems]
    has_llrs = any(system.is_llr for system in systems)
    head = ["System", "EER [95 %]", *(f"minDCF, {label} [95 %]" for label in labels), *_llr_head(has_llrs, labels), "min Cllr"]
    rows = [_result_row(each, system, len(labels), has_llrs) for each, system in zip(found, systems)]
    counts = [(each.num_targets, each.num_nontargets, each.num_speakers) for each in found]
    if len(set(counts)) == 1:
        caption = "Error rates and costs on {} target and {} nontarget trials".format(*counts[0])
        caption += "" if counts[0][2] is None else f" of {counts[0][2]} speakers"
    else:
        caption = "Error rates and costs on all trials"
        head += ["Trials: target + nontarget", "Speakers"]
        rows = [[*row, f"{own[0]} + {own[1]}", UNDEFINED if own[2] is None else own[2]] for row, own in zip(rows, counts)]
    return Grid(caption, head, rows, frozenset(range(1, len(head))))


def _llr_head(has_llrs: bool, labels: Sequence[str]) -> list[str]:
    return [*(f"actDCF, {label}" for label in labels), "Cllr"] if has_llrs else []


def _result_row(found: Evaluation, system: System, num_costs: int, has_llrs: bool) -> list[object]:
    actual = [f"{value:.3f}" for value in found.actual_dcf.values()] or [UNDEFINED] * num_costs
    return [
        system.name,
        percent(found.eer) if found.eer else UNDEFINED,
        *(_cost(value) for value in found.min_dcf.values()),
        *([*actual, f"{found.bits['Cllr']:.3f}" if system.is_llr else UNDEFINED] if has_llrs else []),
        f"{found.bits['minCllr']:.3f}",
    ]


def _comparisons(systems: Sequence[System], settings: Settings) -> list[list[object]]:
    """The first system less each other one of the same list, with the chance that they are alike."""
    first, *others = systems
    same = [other for other in others if other.trials.hash == first.trials.hash]
    return [_comparison_row(first, other, settings) for other in same] if settings.num_replicates else []


def _comparison_row(first: System, other: System, settings: Settings) -> list[object]:
    scores = other.scores if other.trials is first.trials else other.scores_for(first.trials)
    found = compare(first.trials, first.scores, scores, first.origin, settings)
    name = joined(isolated(first.name), " − ", isolated(other.name))
    return [name, *(_difference(found, label) for label in found.first)]


def _difference(found: Comparison, label: str) -> str:
    scale, decimals = (100.0, 2) if label == EER else (1.0, 3)
    value = f"{scale * (found.first[label] - found.second[label]):+.{decimals}f}"
    if label not in found.differences:
        return value
    return value + chance(found.differences[label], scale, decimals)


def _cost(measured: Measured) -> str:
    interval = measured.interval
    return f"{measured.value:.3f}" + (f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else "")


def _how(systems: Sequence[System], evaluations: Evaluations, settings: Settings) -> list[str]:
    lines = [
        "EER: the rate at which misses equal false alarms, joined by a straight line between neighbouring operating points. "
        "minDCF: detection cost at the best threshold over that of the better of the two trivial systems (accept all, reject all). "
        "min Cllr: cost in bits over all operating points after the optimal monotone map of the scores.",
        f"Intervals: 95 %, speakers resampled {settings.num_replicates} times at most, seed {settings.seed}; trials of one speaker go together. p: probability of a difference at least as large, either way, if there were none.",
    ]
    for system in systems:
        found = evaluations[""][system.name][ALL]
        if found.no_interval:
            lines.append(f"{cut(system.name, 80)}: no intervals: {found.no_interval}.")
    return lines


def curve_section(systems: Sequence[System], evaluations: Evaluations) -> Section:
    """The error curves of all systems on one chart, and a histogram of the scores of each."""
    charts = [_score_chart(place, system, evaluations[""][system.name][ALL]) for place, system in enumerate(systems, 1)]
    return Section("curves", "Error curves and scores", charts=[_det_chart(systems, evaluations), *charts])


def _det_chart(systems: Sequence[System], evaluations: Evaluations) -> Chart:
    curves, rows = [], []
    for system in systems:
        target, nontarget = system.sides
        _, miss, false_alarm = det_points(target, nontarget, DET_POINTS)
        curves.append(DetCurve(system.name, miss, false_alarm, _eer(evaluations[""][system.name][ALL])))
        rows.append([system.name, *(_miss_at(miss, false_alarm, rate) for rate in RATES)])
    labels = Labels(
        "det",
        "Misses against false alarms (DET)",
        f"Detection error trade-off of {_listed(systems)} on probit axes in percent; lower and further left is better.",
        "False alarms (%)",
        "Misses (%)",
    )
    head = ["System", *(f"at {100 * rate:g} % false alarms" for rate in RATES)]
    numbers = Grid("Miss rate in percent", head, rows, frozenset(range(1, len(head))))
    note = "Each curve is one system, each of its points a threshold; the marker is its equal error rate. Few errors stand behind the ends of a curve."
    return Chart(labels, det_chart(labels, curves), numbers, note)


def _miss_at(miss: np.ndarray, false_alarm: np.ndarray, rate: float) -> str:
    """The miss rate of the drawn curve at a false-alarm rate, straight between its points as drawn; nothing beyond its ends."""
    inside = (false_alarm > 0) & (false_alarm < 1) & (miss > 0) & (miss < 1)
    x, y = probit(false_alarm[inside])[::-1], probit(miss[inside])[::-1]
    at = float(probit(np.array([rate]))[0])
    if len(x) == 0 or not x[0] <= at <= x[-1]:
        return UNDEFINED
    found = np.interp(at, x, y)
    return f"{100 * NormalDist().cdf(float(found)):.2f}"


def _eer(found: Evaluation) -> float:
    if found.eer is None:
        raise ValueError("all trials of a system have both kinds")
    return found.eer.value


def _listed(systems: Sequence[System]) -> str:
    names = ", ".join(cut(system.name, 80) for system in systems[:6])
    return names + (f" and {len(systems) - 6} more" if len(systems) > 6 else "")


def _score_chart(place: int, system: System, found: Evaluation) -> Chart:
    target, nontarget = system.sides
    edges, outside = score_edges(system.scores)
    heights = [_density(side, edges) for side in (target, nontarget)]
    labels = Labels(
        f"scores-{place}",
        f"Scores of {cut(system.name, 80)}",
        f"Histograms of the target and nontarget scores of {cut(system.name, 80)}; the threshold of the equal error rate is {found.threshold:.4g}.",
        "Score",
        "Density",
    )
    marks = (
        [(found.threshold, f"EER {100 * _eer(found):.2f} %")]
        if found.threshold is not None and edges[0] <= found.threshold <= edges[-1]
        else []
    )
    rows = [[f"{low:.4g} to {high:.4g}", f"{a:.4g}", f"{b:.4g}"] for low, high, a, b in zip(edges, edges[1:], *heights)]
    numbers = Grid("Density by score", ["Score", "target", "nontarget"], rows, frozenset({1, 2}))
    note = f"Threshold at the EER: {found.threshold:.4g}." + (
        f" {outside} scores lie beyond the ends and are not drawn." if outside else ""
    )
    return Chart(labels, histogram(labels, edges, [Bars("target", heights[0]), Bars("nontarget", heights[1])], marks), numbers, note)


def score_edges(scores: np.ndarray) -> tuple[np.ndarray, int]:
    """Borders of bins over the scores, and how many lie beyond them: a few far outliers are not let to squeeze the rest."""
    low, high = float(scores.min()), float(scores.max())
    with np.errstate(over="ignore", invalid="ignore"):
        near = np.quantile(scores, [0.001, 0.999])
    span = near[1] / 2 - near[0] / 2
    if span > 0 and high / 2 - low / 2 > 1.6 * span:
        low, high = max(low, near[0] - 0.3 * span), min(high, near[1] + 0.3 * span)
    if not high > low:
        pad = max(0.01 * abs(low), 0.5)
        low, high = low - pad, high + pad
    shares = np.arange(BINS + 1) / BINS
    edges = (1 - shares) * low + shares * high  # high - low itself may be more than a float can hold
    return edges, int(np.count_nonzero((scores < low) | (scores > high)))


def _density(side: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Heights such that the area over all bins, and beyond them, is one."""
    return np.asarray(np.histogram(side, edges)[0] / len(side) / np.diff(edges))


def condition_section(evaluations: Evaluations) -> Section | None:
    """The EER by each condition that is known, systems side by side; None where none is."""
    charts = [chart for condition, by_system in evaluations.items() if condition and (chart := _condition_chart(condition, by_system))]
    return Section("conditions", "EER by condition", charts=charts) if charts else None


def _condition_chart(condition: str, by_system: Mapping[str, Results]) -> Chart | None:
    found = [(name, group, each) for name, results in by_system.items() for group, each in results.items()]
    dots = [
        Dot(group, name, 100 * each.eer.value, (100 * each.eer.interval.low, 100 * each.eer.interval.high) if each.eer.interval else None)
        for name, group, each in found
        if each.eer is not None
    ]
    if not dots:
        return None
    labels = Labels(
        f"eer-by-{condition.replace(' ', '-')}",
        f"EER by {condition}",
        f"Equal error rate in percent with 95 % intervals, one row for each part of the trials by {condition}, one dot for each system.",
        "EER (%)",
    )
    rows = [
        [group, isolated(name), percent(each.eer) if each.eer else "trials of one kind only", each.num_targets, each.num_nontargets]
        for name, group, each in found
    ]
    numbers = Grid(f"EER by {condition}", ["Trials", "System", "EER [95 %]", "target", "nontarget"], rows, frozenset({2, 3, 4}))
    return Chart(labels, dot_whisker(labels, dots), numbers)


def hard_section(systems: Sequence[System]) -> Section:
    """For each system the trials that it gets most wrong."""
    tables = []
    for place, system in enumerate(systems):
        is_target = np.asarray(system.trials.is_target)
        lowest = _hard_table(system, np.flatnonzero(is_target), False, f"{system.name}: lowest target scores")
        highest = _hard_table(system, np.flatnonzero(~is_target), True, f"{system.name}: highest nontarget scores")
        tables.append(folded(cut(system.name, 80), side_by_side(lowest, highest), is_open=place == 0))
    return Section(
        "hard", "Hard trials", paragraph("Wrong labels and bad recordings show here first: listen to them."), after=joined(*tables)
    )


def _hard_table(system: System, positions: np.ndarray, highest: bool, caption: str) -> Markup:
    chosen = hardest(system.scores, positions, highest)
    trials = system.trials
    rows = [
        [
            identifier(trials.enroll_ids[trials.enroll_index[at]]),
            identifier(trials.test_ids[trials.test_index[at]]),
            f"{system.scores[at]:.4g}",
        ]
        for at in chosen
    ]
    return table(Grid(caption, ["Enrollment", "Test", "Score"], rows, frozenset({2})))


def hardest(scores: np.ndarray, positions: np.ndarray, highest: bool, count: int = HARD_TRIALS) -> np.ndarray:
    """The `count` positions with the highest (or lowest) scores, equal ones in the order of the list."""
    values = -scores[positions] if highest else scores[positions]
    if len(values) > count:
        border = np.partition(values, count - 1)[count - 1]
        positions, values = positions[values <= border], values[values <= border]
    return positions[np.argsort(values, kind="stable")[:count]]
