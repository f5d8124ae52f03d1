"""Fusion of scores: what is learned, what it gains on other trials, its file."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sv_toolkit.backends.calibration import FitList
from sv_toolkit.backends.fusion import Fusion, MeanVarianceFusion, fit_logistic, fit_mean_variance, read_fusion, write_fusion
from sv_toolkit.errors import ConfigError, DataError
from sv_toolkit.metrics.detection import OperatingPoint, actual_dcf, cllr, min_dcf
from sv_toolkit.metrics.hull import min_cllr

LIST = FitList("trials", "0123456789ab", 500, 9500)


def simulated(rng, num_targets=500, num_nontargets=9500):
    """Two systems of different scale whose errors are partly shared."""
    is_target = np.arange(num_targets + num_nontargets) < num_targets
    shared, *own = rng.normal(size=(3, len(is_target)))
    return np.column_stack([0.2 * is_target + 0.05 * (shared + own[0]), 40 * is_target + 10 * (shared + own[1]) - 7]), is_target


def test_logistic_fusion_is_calibrated_and_better_than_either_on_other_trials(rng):
    fusion = fit_logistic(*simulated(rng), ["a", "b"], LIST)
    scores, is_target = simulated(rng, 2000, 40_000)
    llr = fusion.fuse(scores)
    target, nontarget = llr[is_target], llr[~is_target]
    assert cllr(target, nontarget) < 1.1 * min_cllr(target, nontarget)
    assert actual_dcf(target, nontarget, OperatingPoint(0.05)) < 1.1 * min_dcf(target, nontarget, OperatingPoint(0.05))
    assert min_cllr(target, nontarget) < 0.9 * min(min_cllr(one[is_target], one[~is_target]) for one in scores.T)


def test_logistic_fusion_does_not_depend_on_scale_and_order_of_the_systems(rng):
    scores, is_target = simulated(rng)
    llr = fit_logistic(scores, is_target, ["a", "b"], LIST).fuse(scores)
    moved = scores[:, ::-1] * [-3, 0.01] + [5, -2]
    np.testing.assert_allclose(fit_logistic(moved, is_target, ["b", "a"], LIST).fuse(moved), llr, atol=1e-8)


def test_a_system_that_is_given_twice_counts_once(rng):
    scores, is_target = simulated(rng)
    llr = fit_logistic(scores, is_target, ["a", "b"], LIST).fuse(scores)
    again = scores[:, [0, 1, 1]]
    np.testing.assert_allclose(fit_logistic(again, is_target, ["a", "b", "b"], LIST).fuse(again), llr, atol=1e-3)


def test_mean_variance_fusion_is_the_sum_of_standardized_scores(rng):
    scores, _ = simulated(rng)
    expected = sum((one - np.mean(one)) / np.std(one) for one in scores.T)
    np.testing.assert_allclose(fit_mean_variance(scores, ["a", "b"]).fuse(scores), expected, atol=1e-10)


def test_a_system_without_a_say_is_refused(rng):
    scores, is_target = simulated(rng)
    scores[:, 1] = 3.0
    with pytest.raises(DataError, match="system 2 gives all trials the same score"):
        fit_mean_variance(scores, ["a", "b"])
    with pytest.raises(DataError, match="input 2 of 2"):
        fit_logistic(scores, is_target, ["a", "b"], LIST)
    with pytest.raises(ValueError, match="finite"):
        MeanVarianceFusion().fit(np.full((3, 2), np.nan))


def test_another_number_of_systems_is_refused(rng):
    with pytest.raises(DataError, match=r"of 2 systems \(a, b\), got 3"):
        fit_mean_variance(simulated(rng)[0], ["a", "b"]).fuse(np.zeros((4, 3)))


@pytest.mark.parametrize("fit", [lambda x, y: fit_logistic(x, y, ["a", "b"], LIST, 0.1), lambda x, y: fit_mean_variance(x, ["a", "b"])])
def test_the_file_survives_the_round_trip(rng, tmp_path, fit):
    scores, is_target = simulated(rng)
    fusion = fit(scores, is_target)
    write_fusion(tmp_path / "fusion.json", fusion)
    assert read_fusion(tmp_path / "fusion.json") == fusion
    np.testing.assert_array_equal(read_fusion(tmp_path / "fusion.json").fuse(scores), fusion.fuse(scores))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "calibration"}, "is not a fusion"),
        ({"method": "sum"}, "method is one of logistic, mean-variance, got 'sum'"),
        ({"weights": [1.0]}, "2 systems with 1 weights"),
        ({"weights": [], "systems": []}, "0 systems"),
        ({"offset": None}, "offset"),
        ({"more": 1}, "unknown key 'more'"),
    ],
    ids=str,
)
def test_what_is_no_fusion_is_refused_by_name(tmp_path, change, message):
    path = tmp_path / "fusion.json"
    write_fusion(path, Fusion("mean-variance", ("a", "b"), (1.0, 2.0), 0.0))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigError, match=f"fusion.json.*{message}"):
        read_fusion(path)
