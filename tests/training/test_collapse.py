from __future__ import annotations

import pytest

from sv_toolkit.training.collapse import REPORTS, collapsed, drifts_together


def report(target, nontarget, gradient):
    return {"target_cosine": target, "nontarget_cosine": nontarget, "gradient_norm": gradient}


FLAT = report(1.0, 0.9999, 1e-4)


def test_all_alike_without_a_gradient_is_told_with_advice():
    sentence = collapsed([FLAT] * REPORTS)
    assert "mean cosine 1.000 between different speakers" in sentence
    for advice in ("optimizer.learning_rate", "schedule.warmup_steps", "network.initialization", "loss.method"):
        assert advice in sentence


def test_fewer_reports_say_nothing():
    assert collapsed([FLAT] * (REPORTS - 1)) is None
    assert collapsed([]) is None


@pytest.mark.parametrize(
    "odd", [report(1.0, 0.9, 1e-4), report(1.0, 0.985, 1e-4), report(1.0, 0.9999, 0.5)], ids=["apart", "a gap", "a gradient"]
)
@pytest.mark.parametrize("place", range(REPORTS))
def test_one_report_that_is_not_flat_keeps_a_training_going(odd, place):
    reports = [FLAT] * REPORTS
    reports[place] = odd
    assert collapsed(reports) is None


def test_older_reports_do_not_count():
    assert collapsed([report(0.8, 0.1, 2.0), *[FLAT] * REPORTS]) is not None


def test_a_training_that_is_leaving_its_start_goes_on():
    """Three layers with projections start with all embeddings alike; what counts is that the gap or the gradient grows."""
    assert collapsed([report(1.0, 1.0 - gap, 1e-3) for gap in (1e-5, 2e-5, 1e-4, 1e-3)]) is None
    assert collapsed([report(1.0, 0.9999, norm) for norm in (1e-4, 1e-3, 2e-3, 1e-2)]) is None


def test_what_warns_is_the_trend():
    assert drifts_together(report(0.97, 0.93, 1.0), report(0.98, 0.96, 1.0))
    assert not drifts_together(report(0.999, 0.998, 1.0), report(0.99, 0.97, 1.0)), "alike at the start, and moving apart"
    assert not drifts_together(report(0.9, 0.2, 1.0), report(0.9, 0.5, 1.0)), "far from alike"
