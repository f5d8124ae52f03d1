from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.trial_making import TrialConfig, make_enrollment, make_model_trials, make_trials
from sv_toolkit.errors import DataError

from .conftest import UTTERANCES

PATH = Path("trials")


@pytest.fixture
def data(make_data):
    """Utterances 1 and 2 of a speaker say one keyword, 3 and 4 another; 1 and 3 are of one session, 2 and 4 of another."""
    keywords = {key: "cat" if key[-1] in "12" else "bed" for key in UTTERANCES}
    sessions = {key: "monday" if key[-1] in "13" else "friday" for key in UTTERANCES}
    return DataDir.read(make_data(tables={"utt2keyword": keywords, "utt2session": sessions}))


def as_dict(trials):
    return {
        (trials.enroll_ids[i], trials.test_ids[j]): bool(label)
        for i, j, label in zip(trials.enroll_index, trials.test_index, trials.is_target)
    }


def same(data, name, pair):
    table = data.table(name)
    return table[pair[0]] == table[pair[1]]


def test_all_pairs_are_every_unordered_pair_once(data):
    trials = make_trials(data, TrialConfig(), PATH)
    expected = {pair: pair[0][:4] == pair[1][:4] for pair in itertools.combinations(UTTERANCES, 2)}
    assert as_dict(trials) == expected
    assert len(trials) == 120
    assert trials.num_targets == 24


@pytest.mark.parametrize("keyword", ["same", "different"])
@pytest.mark.parametrize("targets", [None, 2])
def test_keywords_are_the_same_or_different_in_all_trials(data, keyword, targets):
    trials = make_trials(data, TrialConfig(targets, targets, keyword=keyword), PATH)
    assert {same(data, "utt2keyword", pair) for pair in as_dict(trials)} == {keyword == "same"}
    if targets is None:
        assert len(trials) == {"same": 2 * 28, "different": 64}[keyword]


@pytest.mark.parametrize("session", ["same", "different"])
@pytest.mark.parametrize("targets", [None, 2])
def test_sessions_are_the_same_or_different_in_target_trials(data, session, targets):
    trials = as_dict(make_trials(data, TrialConfig(targets, targets, session=session), PATH))
    assert {same(data, "utt2session", pair) for pair, label in trials.items() if label} == {session == "same"}
    assert {same(data, "utt2session", pair) for pair, label in trials.items() if not label} == {True, False}


def test_some_trials_per_utterance_are_a_sorted_part_of_all(data):
    every = as_dict(make_trials(data, TrialConfig(), PATH))
    some = as_dict(make_trials(data, TrialConfig(1, 3), PATH))
    assert some.items() <= every.items()
    assert list(some) == sorted(some)
    for key in UTTERANCES:
        assert sum(label for pair, label in some.items() if key in pair) >= 1
        assert sum(not label for pair, label in some.items() if key in pair) >= 3


def test_enough_per_utterance_gives_all_pairs(data):
    assert make_trials(data, TrialConfig(15, 15), PATH).hash == make_trials(data, TrialConfig(), PATH).hash


def test_drawing_from_a_large_crowd_keeps_the_conditions(make_data):
    utt2spk = {f"s{i:03d}-{j}": f"s{i:03d}" for i in range(60) for j in range(3)}
    data = DataDir.read(make_data(tables={"wav.scp": dict.fromkeys(utt2spk, "x.wav"), "utt2spk": utt2spk}))
    trials = as_dict(make_trials(data, TrialConfig(1, 2), PATH))
    assert all(label == (pair[0][:4] == pair[1][:4]) for pair, label in trials.items())
    assert all(pair[0] < pair[1] for pair in trials)
    assert 180 <= sum(not label for label in trials.values()) <= 360


def test_a_seed_gives_the_same_list_again_and_another_one_otherwise(data):
    hashes = [make_trials(data, TrialConfig(1, 1, seed=seed), PATH).hash for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_missing_maps_and_missing_kinds_are_refused(make_data):
    data = DataDir.read(make_data())
    with pytest.raises(DataError, match="utt2keyword: no such file"):
        make_trials(data, TrialConfig(keyword="same"), PATH)
    one = DataDir.read(make_data("one", {"wav.scp": dict.fromkeys(UTTERANCES[:4], "x"), "utt2spk": dict.fromkeys(UTTERANCES[:4], "spk1")}))
    with pytest.raises(DataError, match="no nontarget trial"):
        make_trials(one, TrialConfig(), PATH)
    each = DataDir.read(make_data("each", {"wav.scp": {"a": "x", "b": "x"}, "utt2spk": {"a": "a", "b": "b"}}))
    with pytest.raises(DataError, match="no target trial"):
        make_trials(each, TrialConfig(), PATH)


@pytest.mark.parametrize("num_enroll", [1, 2])
def test_models_of_speakers_are_tested_with_utterances_of_no_model(data, num_enroll):
    models = make_enrollment(data, num_enroll, TrialConfig())
    assert list(models) == ["spk1", "spk2", "spk3", "spk4"]
    assert all(len(keys) == num_enroll and {key[:4] for key in keys} == {name} for name, keys in models.items())
    trials = make_model_trials(data, models, TrialConfig(), PATH)
    used = {key for keys in models.values() for key in keys}
    assert not used & set(trials.test_ids)
    assert len(trials) == 4 * (16 - 4 * num_enroll)
    assert all(label == (pair[0] == pair[1][:4]) for pair, label in as_dict(trials).items())


@pytest.mark.parametrize("keyword", ["same", "different"])
def test_models_of_keywords_meet_the_condition(data, keyword):
    config = TrialConfig(keyword=keyword)
    models = make_enrollment(data, 1, config)
    assert len(models) == 8
    assert all(name == f"{key[:4]}-{data.table('utt2keyword')[key]}" for name, keys in models.items() for key in keys)
    trials = make_model_trials(data, models, config, PATH)
    for (model, test), label in as_dict(trials).items():
        assert (model.split("-")[1] == data.table("utt2keyword")[test]) == (keyword == "same")
        assert label == (model.split("-")[0] == test[:4])


def test_who_has_too_little_is_not_enrolled(data):
    with pytest.raises(DataError, match="no speaker has 5 utterances"):
        make_enrollment(data, 5, TrialConfig())
    assert make_enrollment(data, 2, TrialConfig(keyword="same")).keys() == make_enrollment(data, 1, TrialConfig(keyword="same")).keys()


def test_models_of_one_name_are_refused(make_data):
    utt2spk = {"a-b-1": "a-b", "a-1": "a"}
    data = DataDir.read(
        make_data(tables={"wav.scp": dict.fromkeys(utt2spk, "x"), "utt2spk": utt2spk, "utt2keyword": {"a-b-1": "c", "a-1": "b-c"}})
    )
    with pytest.raises(DataError, match="two enrollment models would be called a-b-c"):
        make_enrollment(data, 1, TrialConfig(keyword="same"))
