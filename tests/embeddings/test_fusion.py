"""Fusion of embeddings against the definition, and its directory."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.embeddings.fusion import fuse_embeddings, fuse_to_directory
from sv_toolkit.embeddings.loading import EmbeddingSet, read_embeddings
from sv_toolkit.errors import DataError, ModelError, OutputError
from sv_toolkit.io import work
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.manifest import Manifest, describe_file, write_manifest

IDS = ["a", "b", "c"]


@pytest.fixture
def scps(tmp_path, rng):
    """Two systems whose manifests say which model made the vectors."""
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.append(write_ark_scp(tmp_path / name, "dvector", {key: 3 * rng.normal(size=4).astype(np.float32) for key in IDS}))
        write_manifest(tmp_path / name, Manifest("dvector", {"model": name}, {}, {"dvector.scp": describe_file(found[-1])}))
    return found


def files(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_embeddings_are_unit_sums_of_unit_vectors(scps):
    sets = [read_embeddings(scp) for scp in scps]
    ids, vectors = fuse_embeddings(sets)
    assert ids == IDS
    for key, vector in zip(ids, vectors):
        parts = [one.vectors[one.row[key]].astype(float) for one in sets]
        total = sum(part / np.linalg.norm(part) for part in parts)
        np.testing.assert_allclose(vector, total / np.linalg.norm(total), atol=1e-6)


def test_neither_the_length_of_vectors_nor_the_order_of_systems_and_ids_matters(scps):
    one, two = (read_embeddings(scp) for scp in scps)
    turned = EmbeddingSet(two.path, two.ids[::-1], 8 * two.vectors[::-1])
    np.testing.assert_array_equal(fuse_embeddings([turned, one])[1], fuse_embeddings([one, two])[1])


@pytest.mark.parametrize(
    ("drop", "message"), [(0, "two.* no embedding for 1 of the 3 .*: c"), (1, "one.* no embedding for 1 of the 3 .*: c")]
)
def test_utterances_of_one_system_alone_are_refused(scps, drop, message):
    sets = [read_embeddings(scp) for scp in scps]
    less = sets[1 - drop]
    sets[1 - drop] = EmbeddingSet(less.path, less.ids[:2], less.vectors[:2])
    with pytest.raises(DataError, match=message):
        fuse_embeddings(sets)


def test_other_dimensions_and_opposite_vectors_are_refused(scps):
    one, two = (read_embeddings(scp) for scp in scps)
    with pytest.raises(ModelError, match="has 3 dimensions.* has 4: .*fuse the scores"):
        fuse_embeddings([one, EmbeddingSet(two.path, two.ids, two.vectors[:, :3])])
    with pytest.raises(DataError, match="embeddings of a cancel out"):
        fuse_embeddings([one, EmbeddingSet(two.path, one.ids, -one.vectors)])


def test_the_directory_says_its_own_model_and_is_made_once(scps, tmp_path):
    out = tmp_path / "out"
    assert fuse_to_directory(scps, out) == 3
    stored = read_embeddings(out / "dvector.scp")
    np.testing.assert_array_equal(stored.vectors, fuse_embeddings([read_embeddings(scp) for scp in scps])[1])
    assert stored.model not in (None, "one", "two")
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert fuse_to_directory(scps, out) == 3
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == times
    with pytest.raises(OutputError, match="--overwrite"):
        fuse_to_directory([scps[0], scps[0]], out)
    fuse_to_directory([scps[0], scps[0]], out, overwrite=True)
    with pytest.raises(OutputError, match="would be replaced"):
        fuse_to_directory(scps, scps[0].parent)


@pytest.mark.parametrize("step", ["write_table", "write_manifest", "close_shards"])
def test_a_run_that_was_cut_short_is_finished_by_the_next_one(scps, tmp_path, monkeypatch, step):
    out = tmp_path / "out"
    fuse_to_directory(scps, tmp_path / "whole")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(work, step, killed)
        fuse_to_directory(scps, out)
    assert fuse_to_directory(scps, out) == 3
    rename = str(out).encode(), str(tmp_path / "whole").encode()
    found, whole = files(out), files(tmp_path / "whole")
    assert {name: data.replace(*rename) for name, data in found.items()} == whole
