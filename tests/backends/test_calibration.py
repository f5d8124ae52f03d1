"""Calibration: costs on scores that the fit has not seen, what does not change it, its file, what is refused."""

from __future__ import annotations

import json
import logging
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.backends.calibration import (
    DEFAULT_PRIOR,
    Calibration,
    FitList,
    _folds,
    calibrate,
    held_out_llr,
    read_calibration,
    refuse_no_cosines,
    refuse_other_origin,
    unreachable,
    warn_of_weak_evidence,
    write_calibration,
)
from sv_toolkit.errors import ConfigError, DataError, ModelError
from sv_toolkit.metrics.detection import OperatingPoint, actual_dcf, cllr, error_rates, min_dcf
from sv_toolkit.metrics.hull import min_cllr


def simulated(rng, kind, num_targets, num_nontargets):
    """Cosine-like scores whose ratio is affine (equal variances) or not."""
    target_deviation, nontarget_deviation = {"equal": (0.13, 0.13), "unequal": (0.15, 0.1)}[kind]
    is_target = np.arange(num_targets + num_nontargets) < num_targets
    deviation = np.where(is_target, target_deviation, nontarget_deviation)
    return rng.normal(np.where(is_target, 0.5, 0.05), deviation), is_target


def fit_list(is_target):
    return FitList("trials", "0123456789ab", int(is_target.sum()), int((~is_target).sum()))


def fitted(scores, is_target, **options):
    return calibrate(scores, is_target, fit_list(is_target), **options)


@pytest.fixture
def trials(rng):
    return simulated(rng, "equal", 100, 900)


@pytest.mark.parametrize("kind", ["equal", "unequal"])
def test_on_scores_it_has_not_seen_costs_are_within_a_tenth_of_the_best(rng, kind):
    calibration = fitted(*simulated(rng, kind, 1000, 20_000))
    scores, is_target = simulated(rng, kind, 3000, 60_000)
    llr = calibration.llr(scores)
    target, nontarget = llr[is_target], llr[~is_target]
    assert cllr(target, nontarget) < 1.1 * min_cllr(target, nontarget)
    for prior in (0.01, 0.05, 0.5):
        assert actual_dcf(target, nontarget, OperatingPoint(prior)) < 1.1 * min_dcf(target, nontarget, OperatingPoint(prior))


@settings(max_examples=15)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_stretched_and_shifted_scores_have_the_same_ratios(scale, shift):
    scores, is_target = simulated(np.random.default_rng(1), "equal", 50, 300)
    moved = scale * scores + shift
    np.testing.assert_allclose(fitted(moved, is_target).llr(moved), fitted(scores, is_target).llr(scores), atol=1e-7)


@pytest.mark.parametrize("bent", [False, True])
def test_a_larger_score_is_a_larger_ratio(trials, bent):
    llr = fitted(*trials, bent=bent).llr(np.linspace(-1, 1, 50))
    assert (np.diff(llr) > 0).all()


def test_a_quality_measure_that_moves_the_scores_is_heard(rng):
    """Short recordings score lower whoever speaks: with the duration the costs fall, and ratios stay honest."""
    scores, is_target = simulated(rng, "equal", 3000, 30_000)
    duration = rng.uniform(-1, 1, len(scores))
    scores = scores + 0.2 * duration
    plain = fitted(scores, is_target).llr(scores)
    quality = {"log_duration_test": duration}
    heard = fitted(scores, is_target, quality=quality).llr(scores, quality)
    costs = [cllr(llr[is_target], llr[~is_target]) for llr in (plain, heard)]
    assert costs[1] < 0.8 * costs[0]


def test_quality_beyond_what_the_fit_saw_counts_as_the_nearest_it_saw(rng, trials):
    scores, is_target = trials
    quality = {"log_duration_test": rng.uniform(0, 2, len(scores))}
    calibration = fitted(scores, is_target, quality=quality)
    low, high = calibration.quality[0].low, calibration.quality[0].high
    far = calibration.llr(scores[:2], {"log_duration_test": np.array([-50.0, 50.0])})
    np.testing.assert_array_equal(far, calibration.llr(scores[:2], {"log_duration_test": np.array([low, high])}))


def test_quality_that_is_missing_or_does_not_fit_is_refused(rng, trials):
    calibration = fitted(*trials, quality={"q": rng.normal(size=1000)})
    for quality in (None, {}, {"other": np.zeros(3)}, {"q": np.zeros(2)}, {"q": np.full(3, np.nan)}):
        with pytest.raises(ValueError, match="q"):
            calibration.llr(np.zeros(3), quality)


def test_the_threshold_of_an_application_has_its_prior_as_posterior_odds():
    threshold = Calibration.threshold(0.01, cost_miss=10, cost_fa=1)
    posterior = float(Calibration.posterior(np.array(threshold), 0.01))
    assert 10 * posterior == pytest.approx(1 - posterior)  # there both decisions cost the same
    assert Calibration.threshold(0.5) == 0


def test_rates_are_those_of_the_list_at_the_points_of_the_curve(trials):
    scores, is_target = trials
    calibration = fitted(scores, is_target)
    llr = calibration.llr(scores)
    assert len(calibration.curve) <= 500
    for threshold, false_alarm, miss in calibration.curve[:: len(calibration.curve) // 20]:
        assert calibration.rates_at(threshold) == (false_alarm, miss)
        assert false_alarm == np.mean(llr[~is_target] >= threshold)
        assert miss == np.mean(llr[is_target] < threshold)


def rates_of(llr, is_target, threshold):
    return np.mean(llr[~is_target] >= threshold), np.mean(llr[is_target] < threshold)


def test_rates_between_points_of_a_thinned_curve_are_near_those_of_the_list(rng):
    scores, is_target = simulated(rng, "unequal", 2000, 20_000)
    calibration = fitted(scores, is_target)
    llr = calibration.llr(scores)
    for threshold in np.linspace(-4, 8, 33):
        np.testing.assert_allclose(calibration.rates_at(threshold), rates_of(llr, is_target, threshold), rtol=0.1, atol=1e-3)


@pytest.mark.parametrize("digits", [1, 6])
def test_rates_of_a_whole_curve_are_those_of_the_list_at_any_threshold(rng, digits):
    """Between two scores nothing is accepted or missed, however far they are apart; many are equal with one digit."""
    scores, is_target = simulated(rng, "equal", 60, 200)
    scores = scores.round(digits)
    calibration = fitted(scores, is_target)
    llr = calibration.llr(scores)
    for threshold in np.linspace(llr.min() - 1, llr.max(), 50):
        assert calibration.rates_at(threshold) == rates_of(llr, is_target, threshold)


def test_a_threshold_in_the_gap_between_targets_and_nontargets_has_no_errors():
    is_target = np.arange(100) < 30
    calibration = fitted(np.where(is_target, 0.9, -0.5), is_target)
    for threshold in (-3.0, 0.0, 4.6):
        assert calibration.rates_at(threshold) == (0.0, 0.0)


def test_beyond_the_curve_everything_is_accepted_or_rejected(trials):
    calibration = fitted(*trials)
    assert calibration.rates_at(-1e9) == (1.0, 0.0)
    assert calibration.rates_at(1e9) == (0.0, 1.0)


def test_the_curve_of_few_trials_is_all_of_it():
    scores, is_target = np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.array([False, True, False, True, True])
    calibration = fitted(scores, is_target)
    llr = calibration.llr(scores)
    thresholds, miss, false_alarm = error_rates(llr[is_target], llr[~is_target])
    np.testing.assert_array_equal(calibration.curve, np.column_stack([thresholds, false_alarm, miss])[:-1])


@pytest.mark.parametrize(("num_folds", "bent"), [(2, False), (3, False), (3, True)])
def test_held_out_ratios_come_from_fits_on_other_speakers(rng, num_folds, bent):
    first, second = np.triu_indices(100, 1)
    speakers = first // 5, second // 5
    is_target = speakers[0] == speakers[1]
    scores = rng.normal(1.5 * is_target)
    positions, llr = held_out_llr(scores, is_target, speakers, num_folds, bent=bent)
    fold = _folds(np.arange(20), num_folds)
    enroll, test = fold[speakers[0]], fold[speakers[1]]
    np.testing.assert_array_equal(positions, np.flatnonzero(enroll == test))
    for held_out in range(num_folds):
        others = (enroll != held_out) & (test != held_out)
        own = enroll[positions] == held_out
        np.testing.assert_array_equal(llr[own], fitted(scores[others], is_target[others], bent=bent).llr(scores[positions][own]))
    assert np.bincount(fold).min() >= 20 // num_folds


def test_too_few_speakers_for_folds_are_refused(rng):
    speakers = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0])
    with pytest.raises(DataError, match="both kinds"):
        held_out_llr(rng.normal(size=4), speakers[0] == speakers[1], speakers, 2)
    with pytest.raises(ValueError, match="at least 2"):
        held_out_llr(rng.normal(size=4), speakers[0] == speakers[1], speakers, 1)


def test_scores_that_fall_with_likeness_are_refused(trials):
    with pytest.raises(DataError, match="larger scores belong to nontargets"):
        fitted(-trials[0], trials[1])


def test_lists_that_cannot_carry_a_fit_are_warned_of(caplog, monkeypatch, trials):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    caplog.set_level(logging.INFO, "sv_toolkit")
    warn_of_weak_evidence(*trials, None, "trials")
    assert caplog.text == ""
    warn_of_weak_evidence(np.array([2.0, 1.0, 0.0]), np.array([True, False, False]), 2, "trials")
    assert "one threshold tells all targets" in caplog.text
    assert "few target trials: a calibration on 1 is rough" in caplog.text
    assert "few speakers: a calibration on 2" in caplog.text


def test_a_threshold_beyond_the_list_names_the_priors_by_which_claims_are_accepted(trials):
    found = fitted(*trials)
    scores, is_target = trials
    llrs = found.llr(scores)
    assert found.highest == pytest.approx(llrs.max())
    assert unreachable(found, found.highest) is None
    sentence = unreachable(found, found.highest + 0.01)
    assert f"its largest log-likelihood ratio is {found.highest:.2f}" in sentence
    any_, half = found.accepting_prior(), found.accepting_prior(0.5)
    assert any_ < half
    for prior, share in ((any_, 0.0), (half, 0.5)):
        just_over = min(prior * (1 + 1e-9), 1.0)
        assert (llrs >= found.threshold(just_over)).any()
        assert (llrs[is_target] >= found.threshold(just_over)).mean() >= share - 1 / 100
    dear = found.accepting_prior(0.5, cost_fa=10)
    assert found.threshold(dear, cost_fa=10) == pytest.approx(found.threshold(half))


def test_the_prior_that_is_named_is_rounded_to_the_accepting_side(trials):
    found = fitted(*trials)
    named = float(unreachable(found, 1e3).split("a prior from ")[1].split()[0])
    assert found.threshold(named) <= found.highest


def test_seconds_survive_the_round_trip_and_are_checked(trials, tmp_path):
    found = fitted(*trials, seconds=(0.7, 4.5))
    write_calibration(tmp_path / "c.json", found)
    assert read_calibration(tmp_path / "c.json").seconds == (0.7, 4.5)
    with pytest.raises(ConfigError, match="shortest and the longest"):
        fitted(*trials, seconds=(2.0, 1.0))


def test_what_is_no_cosine_is_not_taken_for_one(tmp_path):
    refuse_no_cosines(np.array([-1.0, 1.0]), tmp_path, "")
    with pytest.raises(DataError, match="-3.5 is no cosine; way out"):
        refuse_no_cosines(np.array([-3.5, 1.0]), tmp_path, "way out")


def test_the_file_survives_the_round_trip(rng, trials, tmp_path):
    calibration = fitted(*trials, quality={"log_duration_test": rng.normal(size=1000)}, scoring="plda", model="0123", bent=True)
    for name in ("a.json", "b.json"):
        write_calibration(tmp_path / "new" / name, calibration)
    assert read_calibration(tmp_path / "new" / "a.json") == calibration
    assert (tmp_path / "new" / "a.json").read_bytes() == (tmp_path / "new" / "b.json").read_bytes()
    assert (tmp_path / "new" / "a.json").stat().st_mode & 0o007 == 0


def test_a_model_folder_stands_for_its_calibration(trials, tmp_path):
    calibration = fitted(*trials)
    write_calibration(tmp_path / "calibration.json", calibration)
    assert read_calibration(tmp_path) == calibration
    assert calibration.prior == DEFAULT_PRIOR


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "fusion"}, "is not a calibration"),
        ({"kind": None}, "is not a calibration"),
        ({"format": 2}, "calibration format '2', this toolkit .* reads 1"),
        ({"format": True}, "calibration format 'True'"),
        ({"weights": [1.0, 2.0]}, "2 weights for a score and 0 quality"),
        ({"weights": [-1.0]}, "must be positive"),
        ({"weights": ["1"]}, "weights needs a number"),
        ({"weights": [10**400]}, "too large"),
        ({"offset": math.nan}, "offset needs a finite number"),
        ({"prior": 1}, "prior must lie between 0 and 1"),
        ({"curve": []}, "curve has no points"),
        ({"curve": [[0.0, 0.5, 0.5], [0.0, 0.4, 0.6]]}, "rising thresholds"),
        ({"curve": [[0.0, 0.5, 0.5], [1.0, 0.6, 0.6]]}, "falling false-alarm"),
        ({"curve": [[0.0, 1.5, 0.5]]}, r"in \[0, 1\]"),
        ({"curve": [[0.0, 1.0]]}, "needs 3 values"),
        ({"quality": [{"name": "q", "low": 1, "high": 1}], "weights": [1.0, 1.0]}, "range of 'q' is empty"),
        ({"bend": {"low": 1, "high": 1, "slope": 2}}, "bend is empty"),
        ({"bend": {"low": 0, "high": 1, "slope": 0}}, "slope above the bend must be positive"),
        ({"bend": {"low": 0, "high": 1, "slope": math.nan}}, "slope needs a finite number"),
        ({"list": {"name": "t", "hash": "h", "num_targets": 0, "num_nontargets": 5}}, "needs targets and nontargets"),
        ({"extra": 1}, "unknown key 'extra'"),
    ],
    ids=str,
)
def test_what_is_no_calibration_is_refused_by_name(trials, tmp_path, change, message):
    path = tmp_path / "calibration.json"
    write_calibration(path, fitted(*trials))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigError, match=f"calibration.json.*{message}"):
        read_calibration(path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"kind": "calibration", "kind": "calibration"}', "[" * 100_000, "\udcff"], ids=repr)
def test_damaged_files_are_refused_by_name(tmp_path, text):
    path = tmp_path / "calibration.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match="calibration.json"):
        read_calibration(path)


def test_a_missing_file_names_the_command_that_makes_it(trials, tmp_path):
    with pytest.raises(ConfigError, match="no such file; sv-calibrate makes one"):
        read_calibration(tmp_path)
    for path in (tmp_path / "x.txt", tmp_path / "x"):
        with pytest.raises(ConfigError, match="ends in .json"):
            write_calibration(path, fitted(*trials))


def test_scores_of_another_back_end_or_model_are_refused(trials, tmp_path):
    calibration = fitted(*trials, model="aaaa")
    refuse_other_origin(calibration, tmp_path, "cosine", "aaaa")
    refuse_other_origin(calibration, tmp_path, "cosine", None)
    with pytest.raises(ModelError, match="fitted on cosine scores, these are plda"):
        refuse_other_origin(calibration, tmp_path, "plda", "aaaa")
    with pytest.raises(ModelError, match="model aaaa, this is bbbb"):
        refuse_other_origin(calibration, tmp_path, "cosine", "bbbb")
