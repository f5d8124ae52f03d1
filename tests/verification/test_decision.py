"""Decisions: they flip at the threshold, agree with Bayes, say their error rates, and are not made out of nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv_toolkit.backends.calibration import Calibration, FitList, calibrate, write_calibration
from sv_toolkit.backends.score_map import QualityRange
from sv_toolkit.embeddings.waveform import Embedded
from sv_toolkit.errors import ConfigError, DataError, ModelError
from sv_toolkit.verification.decision import Judge, Purpose, cosine, lengths, read_judge, shared_threshold
from sv_toolkit.verification.identification import identify, posteriors_of
from sv_toolkit.verification.store import Entry, SpeakerStore

LIST = FitList("trials", "0" * 12, 100, 1000)
CURVE = ((-5.0, 1.0, 0.0), (0.0, 0.1, 0.02), (3.0, 0.01, 0.1), (6.0, 0.0, 0.6))
PLAIN = Calibration((10.0,), -4.0, prior=0.05, list=LIST, curve=CURVE)
VOICE = Embedded(np.array([1, 0, 0], np.float32), 3.0, 300, 250, "d")


def decide(score, calibration=PLAIN, **purpose):
    return Judge(calibration, Purpose(**purpose)).decide(score, VOICE, VOICE)


def test_the_cosine_is_that_of_the_definition(rng):
    one, other = rng.normal(size=(2, 50)).astype(np.float32)
    expected = np.dot(one.astype(float), other) / np.linalg.norm(one.astype(float)) / np.linalg.norm(other.astype(float))
    assert cosine(one, other) == pytest.approx(expected, abs=1e-6)
    assert cosine(one, one) == 1.0 and isinstance(cosine(one, one), float)


@given(st.floats(0.001, 0.999), st.floats(0.1, 10), st.floats(0.1, 10))
def test_a_decision_flips_at_the_bayes_threshold_and_nowhere_else(prior, cost_miss, cost_fa):
    threshold = math.log(cost_fa * (1 - prior) / (cost_miss * prior))
    at = (threshold + 4.0) / 10.0
    purpose = {"prior": prior, "cost_miss": cost_miss, "cost_fa": cost_fa}
    below, above = decide(at - 1e-9, **purpose), decide(at + 1e-9, **purpose)
    assert (below.accepted, above.accepted) == (False, True)
    assert below.threshold == pytest.approx(threshold, abs=1e-9)
    assert above.margin == pytest.approx(0, abs=1e-6)


def test_with_equal_costs_accepted_means_a_posterior_of_one_half():
    for score in np.linspace(-1, 1, 21):
        decision = decide(score, prior=0.2)
        assert decision.llr == pytest.approx(10 * score - 4)
        odds = 0.2 / 0.8 * math.exp(decision.llr)
        assert decision.posterior == pytest.approx(odds / (1 + odds))
        assert decision.accepted == (decision.posterior >= 0.5)


def test_the_prior_and_the_rates_are_those_of_the_calibration():
    decision = decide(0.9)
    assert decision.prior == 0.05
    assert (decision.false_alarm_rate, decision.miss_rate) == PLAIN.rates_at(math.log(19))
    assert decision.list == LIST


def test_a_threshold_of_ones_own_decides_by_the_score_and_has_rates_too():
    decision = decide(0.5, threshold=0.5)
    assert decision.accepted and decision.is_cosine and decision.margin == 0
    assert not decide(0.4999999, threshold=0.5).accepted
    assert (decision.false_alarm_rate, decision.miss_rate) == PLAIN.rates_at(1.0)
    assert decision.llr == pytest.approx(1.0)


def test_without_calibration_there_is_a_score_and_no_decision():
    decision = decide(0.99, calibration=None)
    assert decision.score == 0.99
    assert {value for key, value in vars(decision).items() if key not in ("score", "is_cosine")} == {None}
    assert not Judge().can_decide
    assert decide(0.5, calibration=None, threshold=0.5).accepted is True
    assert decide(0.4, calibration=None, threshold=0.5).accepted is False


def test_a_calibration_that_hears_durations_gets_those_of_both_sides():
    names = [f"{measure}_{side}" for measure in ("log_duration", "log_num_frames") for side in ("enroll", "test")]
    entry = Entry(("d0", "d1"), 20.0, 2000)
    assert lengths(entry, VOICE) == pytest.approx(dict(zip(names, np.log([20.0, 3.0, 2000, 300]))))
    calibration = Calibration(
        (10.0, 1.0, 2.0), -4.0, tuple(QualityRange(name, 0.0, 5.0) for name in names[:2]), prior=0.05, list=LIST, curve=CURVE
    )
    decision = Judge(calibration, Purpose()).decide(0.3, entry, VOICE)
    assert decision.llr == pytest.approx(3.0 - 4.0 + math.log(20) + 2 * math.log(3))
    unknown = replace(calibration, quality=(QualityRange("loudness", 0.0, 1.0), QualityRange("mood", 0.0, 1.0)))
    with pytest.raises(ModelError, match="asks for the measure loudness"):
        Judge(unknown, Purpose()).decide(0.3, entry, VOICE)


def test_the_calibration_comes_from_the_folder_of_the_model_and_only_of_that_model(tmp_path):
    assert read_judge(tmp_path, "a", Purpose()) == Judge()
    with pytest.raises(ConfigError, match=r"say nothing without a calibration; sv-calibrate TRIALS SCORES --model .* makes one"):
        read_judge(tmp_path, "a", Purpose(prior=0.5))
    write_calibration(tmp_path / "calibration.json", replace(PLAIN, model="a"))
    assert read_judge(tmp_path, "a", Purpose()).calibration == replace(PLAIN, model="a")
    with pytest.raises(ModelError, match="was fitted on scores of the model a, this is b"):
        read_judge(tmp_path, "b", Purpose())
    write_calibration(tmp_path / "calibration.json", replace(PLAIN, scoring="plda"))
    with pytest.raises(ModelError, match="was fitted on plda scores"):
        read_judge(tmp_path, "a", Purpose())
    (tmp_path / "calibration.json").write_text("{")
    with pytest.raises(ConfigError):
        read_judge(tmp_path, "a", Purpose())


@pytest.mark.parametrize(
    "wrong", [{"prior": 0.0}, {"prior": 1.0}, {"cost_miss": 0.0}, {"cost_fa": -1.0}, {"cost_fa": math.inf}, {"threshold": math.nan}]
)
def test_an_impossible_purpose_is_refused(wrong):
    with pytest.raises(ConfigError):
        Purpose(**wrong)


def store(means):
    speakers = {f"s{i:02d}": Entry((f"d{i}",), 3.0, 300) for i in range(len(means))}
    return SpeakerStore("store", "m", means.shape[1], speakers, means)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=8), st.floats(0.01, 0.99))
def test_posteriors_are_those_of_bayes_over_all_possibilities(llrs, prior):
    likelihoods = np.append(np.exp(llrs), 1.0)
    priors = np.append(np.full(len(llrs), prior / len(llrs)), 1 - prior)
    expected = likelihoods * priors / (likelihoods * priors).sum()
    posteriors, nobody = posteriors_of(np.array(llrs), prior)
    assert np.append(posteriors, nobody) == pytest.approx(expected, rel=1e-9)


def test_extreme_ratios_do_not_overflow():
    posteriors, nobody = posteriors_of(np.array([1e4, -1e4]), 0.5)
    assert (posteriors.tolist(), nobody) == ([1.0, 0.0], 0.0)


@pytest.mark.parametrize("num_speakers", [1, 7])
def test_the_best_is_named_from_the_threshold_on_that_all_of_them_share(num_speakers):
    """At equal costs this is where the best one's posterior passes that of nobody."""
    threshold = math.log(num_speakers * 0.95 / 0.05)
    assert shared_threshold(0.05, num_speakers) == pytest.approx(threshold)
    for step, named in ((-1e-4, None), (1e-4, "s00")):
        score = (threshold + step + 4) / 10
        own = np.array([score, math.sqrt(1 - score**2), 0.0])
        means = np.concatenate([own[None], np.tile([[-1.0, 0.0, 0.0]], (num_speakers - 1, 1))])
        found = identify(store(means), VOICE, Judge(PLAIN))
        assert found.speaker == named
        assert (found.candidates[0].posterior > found.nobody) == (named is not None)
        assert sum(candidate.posterior for candidate in found.candidates) + found.nobody == pytest.approx(1)


def test_one_enrolled_speaker_is_named_exactly_when_verification_accepts(rng):
    for _ in range(50):
        mean = rng.normal(size=(1, 3))
        score = cosine(mean[0], VOICE.vector)
        found, decision = identify(store(mean), VOICE, Judge(PLAIN)), decide(score)
        assert (found.speaker is not None) == decision.accepted
        assert found.candidates[0].posterior == pytest.approx(decision.posterior, rel=1e-6)


def test_candidates_come_best_first_with_the_rates_of_the_threshold(rng):
    means = rng.normal(size=(9, 3))
    found = identify(store(means), VOICE, Judge(PLAIN))
    scores = [candidate.score for candidate in found.candidates]
    assert scores == sorted(scores, reverse=True)
    assert {candidate.speaker for candidate in found.candidates} == {f"s{i:02d}" for i in range(9)}
    false_alarm, miss = PLAIN.rates_at(found.threshold)
    assert (found.false_alarm_bound, found.miss_rate) == (pytest.approx(9 * false_alarm), miss)


def test_identification_without_calibration_ranks_and_names_by_ones_own_threshold_only(rng):
    means = rng.normal(size=(3, 3))
    found = identify(store(means), VOICE, Judge())
    assert (found.is_decided, found.speaker, found.nobody) == (False, None, None)
    best = found.candidates[0]
    assert identify(store(means), VOICE, Judge(None, Purpose(threshold=best.score))).speaker == best.speaker
    assert identify(store(means), VOICE, Judge(None, Purpose(threshold=best.score + 1e-6))).speaker is None
    assert identify(store(means), VOICE, Judge(PLAIN, Purpose(threshold=best.score))).speaker == best.speaker


def test_nobody_can_be_found_where_nobody_is_enrolled():
    with pytest.raises(DataError, match="nobody is enrolled"):
        identify(store(np.zeros((0, 3))), VOICE, Judge(PLAIN))


def test_error_rates_are_those_that_the_list_of_the_fit_had(rng):
    target, nontarget = rng.normal(0.6, 0.15, 400), rng.normal(0.1, 0.15, 4000)
    scores = np.clip(np.concatenate([target, nontarget]), -1, 1)
    is_target = np.arange(len(scores)) < 400
    calibration = calibrate(scores, is_target, FitList("trials", "0" * 12, 400, 4000))
    judge = Judge(calibration, Purpose(prior=0.05))
    accepted = np.array([judge.decide(score, VOICE, VOICE).accepted for score in scores])
    decision = judge.decide(0.5, VOICE, VOICE)
    assert decision.miss_rate == pytest.approx(np.mean(~accepted[is_target]), abs=0.005)
    assert decision.false_alarm_rate == pytest.approx(np.mean(accepted[~is_target]), abs=0.005)
