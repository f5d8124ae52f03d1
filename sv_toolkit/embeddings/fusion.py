"""Fusion of embeddings: one vector for an utterance from those of several networks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sv_toolkit import __version__
from sv_toolkit.embeddings.directions import refuse_cancelled, unit_rows
from sv_toolkit.embeddings.loading import EmbeddingSet, read_embeddings
from sv_toolkit.errors import DataError, ModelError, OutputError, plain
from sv_toolkit.io.files import sha256_bytes
from sv_toolkit.io.manifest import digest_of
from sv_toolkit.io.work import Work

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
    with Work(out, NAME, job, TABLE, overwrite=overwrite) as work:
        if work.is_done():
            return len(sets[0].ids)
        ids, vectors = fuse_embeddings(sets)
        work.begin()
        row = {key: index for index, key in enumerate(ids)}
        work.shards(ids, str, lambda keys: ((key, vectors[row[key]]) for key in keys))
        work.finish({"utterances": len(ids)})
    return len(ids)
