"""Fusion of embeddings: one vector for an utterance from those of several networks."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sv_toolkit import __version__
from sv_toolkit.embeddings.directions import refuse_cancelled, unit_rows
from sv_toolkit.embeddings.loading import EmbeddingSet, read_embeddings
from sv_toolkit.errors import DataError, ModelError, OutputError, plain
from sv_toolkit.io.files import locked, sha256_bytes
from sv_toolkit.io.manifest import Manifest, describe_file, digest_of, is_finished, write_manifest
from sv_toolkit.io.shards import Sharded, close_shards, refuse_foreign, write_shards
from sv_toolkit.io.tables import write_table

logger = logging.getLogger("sv_toolkit")
NAME, TABLE = "fused", "dvector"


def fuse_embeddings(sets: Sequence[EmbeddingSet]) -> tuple[list[str], np.ndarray]:
    """The length-normalised sum of the unit-length embeddings of each utterance: Deep Speaker (Li et al. 2017), section 5.1.3.

    Returns:
        ids, sorted by bytes, and `(num_utterances, dim)` float32 of unit length.

    Raises:
        ModelError: the sets have different dimensions.
        DataError: an utterance is in one set and not in another, or its embeddings cancel out.
    """
    first = sets[0]
    ids = sorted(first.ids)
    total = np.zeros((len(ids), first.vectors.shape[1]))
    for other in sets:
        if other.vectors.shape[1] != first.vectors.shape[1]:
            raise ModelError(
                f"{plain(other.path)} has {other.vectors.shape[1]} dimensions, {plain(first.path)} has {first.vectors.shape[1]}:"
                " they cannot be added; fuse the scores instead"
            )
        _refuse_other_utterances(first, other)
        total += unit_rows(other.vectors[other.rows(ids)])
    refuse_cancelled(total, ids, "the embeddings of")
    return ids, unit_rows(total).astype(np.float32)


def _refuse_other_utterances(first: EmbeddingSet, other: EmbeddingSet) -> None:
    for here, there in ((first, other), (other, first)):
        missing = sorted(here.row.keys() - there.row.keys())
        if missing:
            raise DataError(
                f"{plain(there.path)}: has no embedding for {len(missing)} of the {len(here.ids)} utterances of {plain(here.path)},"
                f" the first: {plain(missing[0])}"
            )


def fuse_to_directory(scps: Sequence[Path], out: Path, overwrite: bool = False) -> int:
    """Write `out/dvector.scp` with its archive; the number of utterances.

    Raises:
        SvError: what `fuse_embeddings` refuses, or an output directory that holds something else.
    """
    if os.path.realpath(out / f"{TABLE}.scp") in {os.path.realpath(scp) for scp in scps}:
        raise OutputError(f"{plain(out / f'{TABLE}.scp')}: would be replaced by the fusion made of it; choose another output directory")
    sets = [read_embeddings(scp) for scp in scps]
    models = [one.model for one in sets]
    job = {
        "command": "sv-fuse",
        "version": __version__,
        "model": digest_of(sorted(map(str, models))) if all(models) else None,
        "models": models,
        "vectors": [sha256_bytes(one.vectors.tobytes() + "\n".join(one.ids).encode()) for one in sets],
    }
    target = Sharded(out, TABLE, job)
    with locked(out):
        if not overwrite and is_finished(out, NAME, job):
            shutil.rmtree(target.partial, ignore_errors=True)  # a run that was cut short between the manifest and its last step
            logger.info("%s: this fusion is already there; nothing to do", plain(out))
            return len(sets[0].ids)
        ids, vectors = fuse_embeddings(sets)
        _write(target, ids, vectors, overwrite)
    return len(ids)


def _write(target: Sharded, ids: list[str], vectors: np.ndarray, overwrite: bool) -> None:
    refuse_foreign(target, NAME, overwrite)
    row, out = {key: index for index, key in enumerate(ids)}, target.directory
    written = write_shards(target, ids, str, lambda keys: ((key, vectors[row[key]]) for key in keys), 1, 0)
    write_table(out / f"{TABLE}.scp", written.scp)
    files = {path.name: describe_file(path) for path in [*written.arks, out / f"{TABLE}.scp"]}
    write_manifest(out, Manifest(NAME, target.job, {"utterances": len(ids)}, files))
    close_shards(target, len(written.arks))
