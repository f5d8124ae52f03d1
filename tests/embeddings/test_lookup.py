"""Trials find their embeddings, or are counted and named."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from sv_toolkit.data.trials import make
from sv_toolkit.embeddings.loading import EmbeddingSet, model_of, read_embeddings, refuse_different_models
from sv_toolkit.embeddings.lookup import count_self_trials, find_embeddings, load_sides, warn_of_repeats
from sv_toolkit.errors import ArchiveError, DataError, ModelError
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.manifest import Manifest, describe_file, write_manifest

PAIRS = [("a", "b"), ("a", "c"), ("b", "c"), ("d", "a")]


@pytest.fixture
def trials(tmp_path):
    return make(PAIRS, [True, False, False, True], tmp_path / "trials")


def embedding_set(folder, ids, dim=3, model=None, name="dvector"):
    vectors = np.random.default_rng(len(ids)).normal(size=(len(ids), dim)).astype(np.float32)
    return EmbeddingSet(folder / f"{name}.scp", ids, vectors, model)


def test_every_trial_gets_the_rows_of_its_ids(trials, tmp_path):
    left, right = embedding_set(tmp_path, ["d", "c", "b", "a"]), embedding_set(tmp_path, ["a", "b", "c"], name="test")
    found = find_embeddings(trials, left, right)
    assert [(left.ids[i], right.ids[j]) for i, j in zip(found.enroll_index, found.test_index)] == PAIRS
    assert found.num_missing == 0


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ("ab", "abc", "trials:4: the enroll id d has no embedding in .*dvector.scp; 1 of 4 trials"),
        ("abd", "ab", "trials:2: the test id c has no embedding in .*test.scp; 2 of 4 trials"),
        ("xyz", "uvw", r"none of all 4 trials.*enroll a, b, ...; test a, b, .*dvector.scp \(x, y, ...\).*test.scp \(u, v, ...\)"),
    ],
    ids=["enroll side", "test side", "nothing known"],
)
def test_missing_embeddings_are_counted_and_named(trials, tmp_path, left, right, message):
    with pytest.raises(DataError, match=message):
        find_embeddings(trials, embedding_set(tmp_path, list(left)), embedding_set(tmp_path, list(right), name="test"))


def test_the_rest_is_scored_only_when_allowed(trials, tmp_path):
    left = right = embedding_set(tmp_path, ["a", "b", "d"])
    found = find_embeddings(trials, left, right, allow_missing=True)
    assert found.num_missing == 2
    assert [found.trials.pair(position) for position in range(len(found.trials))] == ["a b", "d a"]
    np.testing.assert_array_equal(found.trials.is_target, [True, True])
    assert [(left.ids[i], right.ids[j]) for i, j in zip(found.enroll_index, found.test_index)] == [("a", "b"), ("d", "a")]


def test_nothing_to_score_is_refused_even_when_allowed(trials, tmp_path):
    with pytest.raises(DataError, match="none of all 4"):
        find_embeddings(trials, embedding_set(tmp_path, ["x"]), embedding_set(tmp_path, ["a"]), allow_missing=True)


def test_utterances_on_both_sides_are_found_also_within_models(tmp_path, caplog, monkeypatch):
    trials = make([("a", "a"), ("a", "b"), ("b", "b"), ("b", "a")], None, tmp_path / "trials")
    assert count_self_trials(trials, None) == 2
    assert count_self_trials(trials, {"a": ["b", "x"], "b": ["y"]}) == 1
    assert count_self_trials(trials, {}) == 0
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    warn_of_repeats(trials, None)
    assert "2 trials compare an utterance with itself" in caplog.text


@pytest.fixture
def stored(tmp_path):
    def store(name, ids, dim=3, folder=tmp_path):
        folder.mkdir(exist_ok=True)
        return write_ark_scp(folder, name, {key: np.arange(1, dim + 1, dtype=np.float32) + len(key) for key in ids})

    return store


def test_both_sides_default_to_the_file_beside_the_trials(trials, stored):
    stored("dvector", "abcd")
    left, right = load_sides(trials, None, None, None, False)
    assert left is right
    assert left.path == trials.path.with_name("dvector.scp")


def test_one_given_file_serves_both_sides_where_there_is_none_beside_the_trials(trials, stored, tmp_path):
    elsewhere = stored("dvector", "abcd", folder=tmp_path / "exp")
    for enroll, test in ((elsewhere, None), (None, elsewhere)):
        assert [side.path for side in load_sides(trials, enroll, test, None, False)] == [elsewhere, elsewhere]


def test_no_file_anywhere_is_refused_with_the_way_out(trials):
    with pytest.raises(DataError, match="dvector.scp: no such file; .*--test"):
        load_sides(trials, None, None, None, False)


def test_models_are_averaged_only_as_far_as_the_trials_need_them(trials, stored):
    stored("dvector", ["u1", "u2", "a", "b", "c"])
    models = {"a": ["u1", "u2"], "b": ["u1"], "d": ["u2"], "never asked for": ["nowhere"]}
    left, right = load_sides(trials, None, None, models, False)
    assert sorted(left.ids) == ["a", "b", "d"]
    assert "u1" in right.ids
    missing = {**models, "d": ["u2", "nowhere"]}
    with pytest.raises(DataError, match="nowhere, of the model d"):
        load_sides(trials, None, None, missing, False)
    np.testing.assert_array_equal(load_sides(trials, None, None, missing, True)[0].vectors, left.vectors)


def test_two_models_or_dimensions_are_refused(tmp_path):
    with pytest.raises(ModelError, match="made by the model one, .*by the model two"):
        refuse_different_models(embedding_set(tmp_path, ["a"], model="one"), embedding_set(tmp_path, ["a"], model="two"))
    with pytest.raises(ModelError, match="has 3 dimensions, .* has 4"):
        refuse_different_models(embedding_set(tmp_path, ["a"]), embedding_set(tmp_path, ["a"], dim=4))
    refuse_different_models(embedding_set(tmp_path, ["a"], model="one"), embedding_set(tmp_path, ["a"]))  # one side does not say


def test_the_model_is_read_from_the_manifest_that_lists_the_file(stored, tmp_path):
    scp = stored("dvector", "ab")
    assert model_of(scp) is None
    write_manifest(tmp_path, Manifest("other", {"model": "wrong"}, {}, {"x.scp": describe_file(scp)}))
    write_manifest(tmp_path, Manifest("enroll", {"model": "right"}, {}, {scp.name: describe_file(scp)}))
    assert model_of(scp) == "right"


def test_the_model_of_foreign_vectors_can_be_said_beside_them(stored, tmp_path):
    scp = stored("enroll", "ab")
    (tmp_path / "enroll.meta.json").write_text(json.dumps({"model_id": "theirs"}))
    assert read_embeddings(scp).model == "theirs"
    (tmp_path / "enroll.meta.json").write_text("[1")
    with pytest.raises(DataError, match="enroll.meta.json: not a JSON object"):
        model_of(scp)


def test_vectors_without_a_direction_are_refused_by_name(tmp_path):
    good = np.ones(3, np.float32)
    scp = write_ark_scp(tmp_path, "zero", {"u1": good, "u2": 0 * good})
    with pytest.raises(DataError, match="u2: .*zero.scp: the vector is zero"):
        read_embeddings(scp)
    scp = write_ark_scp(tmp_path, "nan", {"u1": good, "u2": np.nan * good})
    with pytest.raises(ArchiveError, match="u2: .*NaN"):
        read_embeddings(scp)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (
            ["Anna", "bert"],
            r"trials:1: the model anna is not in the map of --enroll-spk2utt; did you mean Anna\? 1 of 2 models are missing",
        ),
        (["anna"], r"trials:2: the model bert is not in the map of --enroll-spk2utt; it has anna 1 of 2 models are missing: add them"),
    ],
)
def test_models_that_the_map_lacks_are_told_of_the_map(tmp_path, known, message):
    write_ark_scp(tmp_path, "dvector", {key: np.ones(3, np.float32) for key in ("u1", "u2")})
    trials = make([("anna", "u1"), ("bert", "u1")], [True, False], tmp_path / "trials")
    with pytest.raises(DataError, match=message):
        load_sides(trials, None, tmp_path / "dvector.scp", dict.fromkeys(known, ["u2"]), allow_missing=False)
