"""Enrollment models against the mean by hand; what cannot be enrolled is refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.data.enrollment import read_enrollment
from sv_toolkit.embeddings.enrollment import enroll, enroll_to_directory, only_known
from sv_toolkit.embeddings.loading import EmbeddingSet, read_embeddings
from sv_toolkit.errors import DataError, OutputError
from sv_toolkit.io import work
from sv_toolkit.io.archives import read_vectors, write_ark_scp
from sv_toolkit.io.manifest import Manifest, describe_file, read_manifest, write_manifest
from sv_toolkit.io.tables import read_table

IDS = ["s1-u1", "s1-u2", "s1-u3", "s2-u1"]
MODELS = {"s2": ["s2-u1"], "s1": ["s1-u3", "s1-u1"]}


@pytest.fixture
def embeddings(rng, tmp_path):
    return EmbeddingSet(tmp_path / "dvector.scp", IDS, (3 * rng.normal(size=(4, 5))).astype(np.float32))


@pytest.fixture
def stored(embeddings, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    scp = write_ark_scp(folder, "dvector", dict(zip(IDS, embeddings.vectors)))
    write_manifest(folder, Manifest("dvector", {"model": "abc123"}, {}, {scp.name: describe_file(scp)}))
    (tmp_path / "spk2utt").write_text("s1 s1-u1 s1-u3\ns2 s2-u1\n")
    return scp, tmp_path / "spk2utt", tmp_path / "out"


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_model_is_the_direction_of_the_mean_of_directions(embeddings):
    unit = embeddings.vectors / np.linalg.norm(embeddings.vectors, axis=1, keepdims=True)
    mean = (unit[2] + unit[0]) / 2
    models = enroll(embeddings, MODELS)
    assert models.model_ids == ["s2", "s1"]
    np.testing.assert_allclose(models.embeddings, [unit[3], mean / np.linalg.norm(mean)], atol=1e-6)
    np.testing.assert_array_equal(models.num_utterances, [1, 2])


def test_the_length_of_a_vector_gives_it_no_weight(embeddings):
    longer = EmbeddingSet(embeddings.path, IDS, embeddings.vectors * np.array([[1], [1], [100], [1]], np.float32))
    np.testing.assert_allclose(enroll(longer, MODELS).embeddings, enroll(embeddings, MODELS).embeddings, atol=1e-6)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({}, "no model to enroll"),
        ({"s1": ["s1-u1"], "s5": []}, "s5 has no utterances"),
        ({"s1": ["s1-u1", "s9-u1"]}, "s9-u1, of the model s1, has no embedding in .*dvector.scp; "),
        ({"s1": ["s9-u1", "s9-u2"]}, "2 utterances are missing: s9-u1, s9-u2"),
    ],
    ids=["no models", "an empty model", "one unknown utterance", "two unknown utterances"],
)
def test_what_cannot_be_enrolled_is_refused_by_name(embeddings, models, message):
    with pytest.raises(DataError, match=message):
        enroll(embeddings, models)


def test_opposite_vectors_are_refused(embeddings):
    opposite = EmbeddingSet(embeddings.path, ["a", "b"], np.array([[1, 2], [-2, -4]], np.float32))
    with pytest.raises(DataError, match="the model m cancel out"):
        enroll(opposite, {"m": ["a", "b"]})


def test_only_known_drops_utterances_and_then_empty_models(embeddings):
    assert only_known(embeddings, {"a": ["s1-u1", "x"], "b": ["x"]}) == {"a": ["s1-u1"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s1 u1 u2\ns5\n", "spk2utt:2: the model s5 has no utterances"),
        ("s1 u1 u2 u1\n", "spk2utt:1: u1 stands twice"),
        ("s1 u1\ns1 u2\n", "s1"),
    ],
    ids=["empty model", "utterance twice", "model twice"],
)
def test_maps_that_say_something_else_than_meant_are_refused(tmp_path, text, message):
    (tmp_path / "spk2utt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_enrollment(tmp_path / "spk2utt")


def test_a_directory_of_models_holds_vectors_counts_and_the_model_that_made_them(stored, embeddings):
    scp, spk2utt, out = stored
    assert enroll_to_directory(scp, spk2utt, out) == 2
    ids, vectors = read_vectors(out / "dvector.scp")
    assert ids == ["s1", "s2"]
    np.testing.assert_array_equal(vectors, enroll(embeddings, {"s1": ["s1-u1", "s1-u3"], "s2": ["s2-u1"]}).embeddings)
    assert dict(read_table(out / "num_utts")) == {"s1": "2", "s2": "1"}
    manifest = read_manifest(out, "enroll")
    assert manifest.counts == {"models": 2, "utterances": 3}
    assert read_embeddings(out / "dvector.scp").model == "abc123"
    assert {path.stat().st_mode & 0o137 for path in out.iterdir()} == {0}


def test_finished_work_is_left_alone_and_changed_input_is_not_mixed_in(stored, rng):
    scp, spk2utt, out = stored
    enroll_to_directory(scp, spk2utt, out)
    before = files(out)
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    enroll_to_directory(scp, spk2utt, out)
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == times
    write_ark_scp(scp.parent, "dvector", {key: rng.normal(size=5).astype(np.float32) for key in IDS})  # same names, other voices
    with pytest.raises(OutputError, match="--overwrite"):
        enroll_to_directory(scp, spk2utt, out)
    assert files(out) == before
    enroll_to_directory(scp, spk2utt, out, overwrite=True)
    assert files(out).keys() == before.keys()
    assert files(out)["dvector.0000.ark"] != before["dvector.0000.ark"]


@pytest.mark.parametrize("step", ["write_table", "write_manifest", "close_shards"])
def test_a_run_that_was_cut_short_is_finished_by_the_next_one(stored, tmp_path, monkeypatch, step):
    scp, spk2utt, out = stored
    enroll_to_directory(scp, spk2utt, tmp_path / "whole")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(work, step, killed)
        enroll_to_directory(scp, spk2utt, out)
    assert enroll_to_directory(scp, spk2utt, out) == 2
    rename = str(out).encode(), str(tmp_path / "whole").encode()
    found, whole = files(out), files(tmp_path / "whole")
    assert found.keys() == whole.keys()
    assert all(data.replace(*rename) == whole[name] for name, data in found.items())  # an scp holds paths


def test_the_input_is_never_replaced_by_its_models(stored):
    scp, spk2utt, _ = stored
    before = files(scp.parent)
    with pytest.raises(OutputError, match="would be replaced"):
        enroll_to_directory(scp, spk2utt, scp.parent, overwrite=True)
    assert files(scp.parent) == before
