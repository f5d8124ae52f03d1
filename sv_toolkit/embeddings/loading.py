"""Embeddings of an scp file as one matrix, with the model that made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sv_toolkit.errors import MALFORMED, DataError, ModelError, plain
from sv_toolkit.io.archives import read_vectors
from sv_toolkit.io.files import read_json
from sv_toolkit.io.manifest import read_manifest

MANIFEST = ".manifest.json"


@dataclass(frozen=True)
class EmbeddingSet:
    """Vectors by id.

    Attributes:
        path: the scp file.
        ids: `num_embeddings` of them, unique.
        vectors: `(num_embeddings, dim)` float32, none of them zero.
        model: digest of the model that made them, None where nothing beside the scp file says it.
    """

    path: Path
    ids: Sequence[str]
    vectors: np.ndarray
    model: str | None = None

    @cached_property
    def row(self) -> dict[str, int]:
        """id -> row of `vectors`."""
        return {key: row for row, key in enumerate(self.ids)}

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """`(len(ids),)` rows, -1 for an id that is not here."""
        return np.fromiter((self.row.get(key, -1) for key in ids), dtype=np.int64, count=len(ids))


def read_embeddings(scp: Path) -> EmbeddingSet:
    """The embeddings that `scp` lists.

    Raises:
        ArchiveError: damaged archive, different dimensions, NaN or Inf.
        DataError: no such file, or a zero vector, which has no direction to compare.
    """
    ids, vectors = read_vectors(scp)
    empty = ~vectors.any(axis=1)
    if empty.any():
        first = ids[int(np.argmax(empty))]
        raise DataError(
            f"{plain(first)}: {plain(scp)}: the vector is zero (norm 0), its cosine is not defined; extract it again or drop it"
        )
    return EmbeddingSet(Path(scp), ids, vectors, model_of(Path(scp)))


def model_of(scp: Path) -> str | None:
    """The model that made the vectors of `scp`: the `model` of the manifest beside it that lists the file.

    For vectors of other programs, a file `<stem>.meta.json` may say it: `{"model_id": "..."}`.
    """
    for path in sorted(scp.parent.glob(f"*{MANIFEST}")):
        manifest = read_manifest(scp.parent, path.name[: -len(MANIFEST)])
        if manifest is not None and scp.name in manifest.files and isinstance(manifest.job.get("model"), str):
            return str(manifest.job["model"])
    return _declared_model(scp.with_suffix(".meta.json"))


def _declared_model(path: Path) -> str | None:
    if path.exists() and not path.is_file():
        raise DataError(f"{plain(path)}: is not a regular file; fix or delete it")
    try:
        content = read_json(path)
        return str(content["model_id"])
    except FileNotFoundError:
        return None
    except (OSError, *MALFORMED):
        raise DataError(f"{plain(path)}: not a JSON object with a model_id; fix or delete it") from None


def refuse_different_models(enroll: EmbeddingSet, test: EmbeddingSet) -> None:
    """Stop where two models made the two sides of the trials: their spaces have nothing to do with each other.

    Raises:
        ModelError: names both models; or the vectors have different dimensions.
    """
    if enroll.vectors.shape[1] != test.vectors.shape[1]:
        raise ModelError(
            f"{plain(enroll.ids[0])} of {plain(enroll.path)} has {enroll.vectors.shape[1]} dimensions, "
            f"{plain(test.ids[0])} of {plain(test.path)} has {test.vectors.shape[1]}; extract both with one model"
        )
    if enroll.model and test.model and enroll.model != test.model:
        raise ModelError(
            f"{plain(enroll.path)} was made by the model {plain(enroll.model)}, {plain(test.path)} by the model {plain(test.model)}; "
            "extract both with one model"
        )
