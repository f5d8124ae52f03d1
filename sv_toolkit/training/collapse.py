"""Has a training collapsed?  All embeddings alike, and no gradient that would change it: a pure function of the log's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

REPORTS = 4  # in a row; a start with all embeddings alike, as of three layers with projections, is left within fewer
ALIKE = 0.98  # mean cosine between different speakers
APART = 0.01  # by which the mean cosine of one speaker exceeds it, at most
STILL = 0.05  # norm of the gradient, before clipping
NOTICEABLE = 0.001  # of a mean cosine, from one report to the next
GROWTH = 1.5  # factor over the reports by which a gap or a gradient counts as growing: then the training is on its way out

ADVICE = (
    "lower the learning rate (optimizer.learning_rate), warm up longer (schedule.warmup_steps), start deep networks with "
    'network.initialization = "xavier", or take loss.method = "softmax" instead of "contrast"'
)


def collapsed(reports: Sequence[Mapping[str, float]]) -> str | None:
    """A sentence with advice where the last reports say that nothing is learned any more; None where something is, or may be.

    Args:
        reports: means over the steps of each, the last one last; `target_cosine`, `nontarget_cosine`, `gradient_norm`.
    """
    last = list(reports)[-REPORTS:]
    if len(last) < REPORTS or not all(_is_flat(report) for report in last):
        return None
    gaps = [report["target_cosine"] - report["nontarget_cosine"] for report in last]
    norms = [report["gradient_norm"] for report in last]
    if _grows(gaps) or _grows(norms):
        return None
    return (
        f"the training has collapsed: all speakers have one embedding (mean cosine {last[-1]['nontarget_cosine']:.3f} between different "
        f"speakers, {last[-1]['target_cosine']:.3f} within one), and the gradient ({norms[-1]:.1e}) changes nothing; {ADVICE}"
    )


def _is_flat(report: Mapping[str, float]) -> bool:
    gap = report["target_cosine"] - report["nontarget_cosine"]
    return report["nontarget_cosine"] > ALIKE and gap < APART and report["gradient_norm"] < STILL


def _grows(values: Sequence[float]) -> bool:
    return values[-1] > GROWTH * max(values[0], 1e-12)


def drifts_together(before: Mapping[str, float], now: Mapping[str, float], least: float = 0.95) -> bool:
    """True where different speakers are nearly alike and come nearer; at the start of a training they are alike and move apart."""
    gap_before, gap_now = (report["target_cosine"] - report["nontarget_cosine"] for report in (before, now))
    return now["nontarget_cosine"] > least and now["nontarget_cosine"] > before["nontarget_cosine"] + NOTICEABLE and gap_now <= gap_before
