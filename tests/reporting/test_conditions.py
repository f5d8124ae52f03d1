"""Speakers and conditions of trials, from the maps of a data directory."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.data.trials import make
from sv_toolkit.errors import DataError
from sv_toolkit.reporting.conditions import Origin, split_by, trial_speakers

PAIRS = [("s1-a", "s1-b"), ("s1-a", "s2-a"), ("s2-a", "s3-a"), ("s3-a", "s2-b")]
MAPS = {
    "utt2spk": "s1-a s1\ns1-b s1\ns2-a s2\ns2-b s2\ns3-a s3\n",
    "spk2gender": "s1 f\ns2 m\ns3 f\n",
    "utt2session": "s1-a 1\ns1-b 2\ns2-a 1\ns2-b 1\n",
    "utt2device": "s1-a ios\ns1-b android\ns2-a ios\ns2-b ios\ns3-a ios\n",
    "utt2keyword": "s1-a yes\ns1-b yes\ns2-a no\ns2-b yes\ns3-a yes\n",
}


@pytest.fixture
def data(tmp_path):
    for name, text in MAPS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def trials(tmp_path):
    return make(PAIRS, [True, False, False, False], tmp_path / "trials")


def speakers_of(trials, origin):
    found = trial_speakers(trials, origin.utt2spk, origin.models)
    return list(zip(found.enroll.tolist(), found.test.tolist()))


def conditions(trials, by, origin):
    return {name: np.flatnonzero(mask).tolist() for name, mask in split_by(trials, by, origin)}


def test_the_maps_beside_the_trials_are_the_default(data, trials):
    assert speakers_of(trials, Origin.find(trials.path, None, None)) == [(0, 0), (0, 1), (1, 2), (2, 1)]
    (data / "utt2spk").unlink()
    assert Origin.find(trials.path, None, None).speakers(trials) == (
        None,
        "no utt2spk beside the trial list says the speakers; give --data DIR",
    )
    with pytest.raises(DataError, match="utt2spk: no such file"):
        Origin.find(trials.path, data, None)


def test_a_model_has_the_speaker_of_its_utterances_or_is_named_after_him(data, tmp_path):
    (tmp_path / "models").write_text("m1 s1-a s1-b\nm2 s2-a\n")
    origin = Origin.find(tmp_path / "trials", None, tmp_path / "models")
    trials = make([("m1", "s1-a"), ("m2", "s1-a"), ("s2", "s2-a"), ("s3-a", "s2-b")], [True, False, True, False], tmp_path / "trials")
    assert speakers_of(trials, origin) == [(0, 0), (1, 0), (1, 1), (2, 1)]


def test_speakers_of_chosen_trials_keep_their_numbers(data, trials):
    speakers, _ = Origin.find(trials.path, None, None).speakers(trials)
    part = speakers.of(np.array([False, False, True, True]))
    assert (part.enroll.tolist(), part.test.tolist(), part.num_speakers, speakers.num_speakers) == ([1, 2], [2, 1], 2, 3)


def test_an_unknown_speaker_is_a_reason_not_an_error(data, trials):
    (data / "utt2spk").write_text("s1-a s1\ns1-b s1\ns2-a s2\ns2-b s2\n")
    speakers, reason = Origin.find(trials.path, None, None).speakers(trials)
    assert speakers is None
    assert "does not say the speaker of s3-a" in reason


@pytest.mark.parametrize(
    ("pairs", "models", "message"),
    [
        ([("s1-a", "s2-a"), ("s1-a", "s3-a")], "", r"trials:1: labelled target, but the speakers are s1 and s2 \(1 such trials\)"),
        ([("m", "s1-a"), ("s1-a", "s2-a")], "m s1-a s2-a\n", "the model m has utterances of several speakers"),
    ],
    ids=["a target of two speakers", "a model of two speakers"],
)
def test_speakers_that_contradict_the_labels_are_refused(data, tmp_path, pairs, models, message):
    (tmp_path / "models").write_text(models or "x s1-a\n")
    trials = make(pairs, [True, False], tmp_path / "trials")
    with pytest.raises(DataError, match=message):
        Origin.find(trials.path, None, tmp_path / "models").speakers(trials)


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("keyword", {"same keyword": [0, 3], "different keyword": [1, 2]}),
        ("session", {"same session": [1], "different session": [0], "unknown session": [2, 3]}),
        ("device", {"same device": [1, 2, 3], "different device": [0]}),
        ("gender", {"gender f-f": [0], "gender f-m": [1, 2, 3]}),
    ],
)
def test_every_trial_falls_under_one_condition(data, trials, by, expected):
    assert conditions(trials, by, Origin.find(trials.path, None, None)) == expected


def test_a_model_of_two_keywords_has_neither(data, tmp_path):
    (tmp_path / "models").write_text("m s2-a s2-b\nn s2-b\n")
    trials = make([("m", "s1-a"), ("m", "s2-a"), ("n", "s1-a")], None, tmp_path / "trials")
    assert conditions(trials, "keyword", Origin.find(trials.path, None, tmp_path / "models")) == {
        "different keyword": [0, 1],
        "same keyword": [2],
    }


def test_a_missing_map_is_refused(data, trials):
    (data / "utt2keyword").unlink()
    with pytest.raises(DataError, match="utt2keyword: no such file"):
        conditions(trials, "keyword", Origin.find(trials.path, None, None))
    (data / "utt2spk").unlink()
    with pytest.raises(DataError, match="utt2spk: no such file; --by gender needs"):
        conditions(trials, "gender", Origin.find(trials.path, None, None))


def dated(tmp_path, days, models=None):
    """Trials of m against t0, t1, ..., whose test utterances are as many days after day 1000 as `days` says."""
    (tmp_path / "utt2date").write_text("e0 990\ne1 1000\n" + "".join(f"t{i} {1000 + day}\n" for i, day in enumerate(days)))
    if models:
        (tmp_path / "models").write_text(models)
    trials = make([("m" if models else "e1", f"t{i}") for i in range(len(days))], None, tmp_path / "trials")
    return conditions(trials, "days", Origin.find(trials.path, None, tmp_path / "models" if models else None))


def test_days_between_the_sides_fall_into_weeks_and_months(tmp_path):
    days = [0, 6, 7, 29, 30, 89, 90, 400, -6, -7, -90]
    assert dated(tmp_path, days) == {
        "under 1 week": [0, 1, 8],
        "1 week to 1 month": [2, 3, 9],
        "1 to 3 months": [4, 5],
        "3 months or more": [6, 7, 10],
    }


def test_days_of_a_model_count_from_its_last_utterance(tmp_path):
    assert dated(tmp_path, [6, 7], "m e0 e1\n") == {"under 1 week": [0], "1 week to 1 month": [1]}
    assert dated(tmp_path, [6], "m e0 e1 e2\n") == {"unknown days": [0]}


def test_iso_dates_are_counted_in_days(tmp_path):
    (tmp_path / "utt2date").write_text("a 2024-02-27\nb 2024-03-05\nc 2024-03-04\n")
    trials = make([("a", "b"), ("a", "c"), ("a", "d")], None, tmp_path / "trials")
    found = conditions(trials, "days", Origin.find(trials.path, None, None))
    assert found == {"under 1 week": [1], "1 week to 1 month": [0], "unknown days": [2]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 2024-02-30\n", "utt2date:1: a date must be YYYY-MM-DD or a whole number of days, got '2024-02-30'"),
        ("a 20240230x\n", "a date must be"),
        ("a 2024-02-20\nb 17\n", "utt2date: holds dates and day numbers"),
    ],
)
def test_dates_that_cannot_be_counted_are_refused(tmp_path, text, message):
    (tmp_path / "utt2date").write_text(text)
    trials = make([("a", "b")], None, tmp_path / "trials")
    with pytest.raises(DataError, match=message):
        conditions(trials, "days", Origin.find(trials.path, None, None))
