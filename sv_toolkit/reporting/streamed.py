"""The result of an evaluation whose files do not fit in memory: numbers with bounds, without intervals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sv_toolkit.data.score_stream import read_score_chunks
from sv_toolkit.errors import DataError
from sv_toolkit.io.tables import place
from sv_toolkit.metrics.streaming import Bounded, ScoreHistogram
from sv_toolkit.reporting.results import Settings


@dataclass(frozen=True)
class StreamedEvaluation:
    """EER (a fraction) and costs by label, each with the ends that hold the exact number; counts."""

    num_targets: int
    num_nontargets: int
    eer: Bounded
    min_dcf: dict[str, Bounded]


def evaluate_streamed(trials: Path, scores: Path, format: str, settings: Settings) -> StreamedEvaluation:
    """EER and detection costs of a trial list and its scores in the same order, in 250 MB whatever their length.

    Raises:
        DataError: a line is wrong, the files hold different pairs, or there is one kind of trials only.
    """
    histogram = ScoreHistogram()
    try:
        for values, is_target in read_score_chunks(trials, scores, format):
            histogram.add(values, is_target)
    except ValueError as error:
        raise DataError(f"{place(scores)}: {error}") from None
    if not (histogram.num_targets and histogram.num_nontargets):
        kind = "nontarget" if histogram.num_targets else "target"
        raise DataError(f"{place(trials)}: no {kind} trial; an error rate needs target and nontarget trials")
    costs = {cost.label: histogram.min_dcf(cost.points) for cost in settings.costs}
    return StreamedEvaluation(histogram.num_targets, histogram.num_nontargets, histogram.equal_error_rate(), costs)


def streamed_lines(found: StreamedEvaluation) -> list[str]:
    """The results for people."""
    eer = found.eer
    lines = [f"EER       {100 * eer.value:.2f} % (exactly: from {100 * eer.low:.4f} to {100 * eer.high:.4f})"]
    lines += [
        f"minDCF    {cost.value:.4f} (exactly: from {cost.low:.6f} to {cost.high:.6f}) at {name}" for name, cost in found.min_dcf.items()
    ]
    lines.append("interval  not available: --streaming keeps no speakers")
    return [*lines, f"trials    {found.num_targets} target, {found.num_nontargets} nontarget, in the order of the score file"]
