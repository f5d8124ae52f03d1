"""Enrollment: from the d-vectors of a few utterances to the model of a claimed speaker."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit import __version__
from sv_toolkit.data.enrollment import Models, read_enrollment
from sv_toolkit.embeddings.directions import refuse_cancelled, unit_rows
from sv_toolkit.embeddings.loading import EmbeddingSet, read_embeddings
from sv_toolkit.errors import DataError, OutputError, examples, plain
from sv_toolkit.io.files import sha256_bytes
from sv_toolkit.io.manifest import digest_of
from sv_toolkit.io.work import Work

NAME, TABLE = "enroll", "dvector"


@dataclass(frozen=True)
class EnrollmentModels:
    """What trials refer to on the left: `embeddings` `(num_models, dim)` of unit length and `num_utterances` `(num_models,)`."""

    model_ids: list[str]
    embeddings: np.ndarray
    num_utterances: np.ndarray


def enroll(embeddings: EmbeddingSet, utterances_of: Models) -> EnrollmentModels:
    """Average the d-vectors of each model: mean of length-normalised vectors, normalised again (Wan et al. 2018, eq. 1).

    Args:
        utterances_of: model id -> utterance ids, at least one each.

    Raises:
        DataError: no models, a model without utterances, an utterance without embedding, or vectors that cancel out.
    """
    rows, counts = member_rows(embeddings, utterances_of)
    means = np.add.reduceat(unit_rows(embeddings.vectors)[rows], np.cumsum(counts) - counts) / counts[:, None]
    refuse_cancelled(means, list(utterances_of), "the d-vectors of the model")
    return EnrollmentModels(list(utterances_of), unit_rows(means).astype(np.float32), counts)


def member_rows(embeddings: EmbeddingSet, utterances_of: Models) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the utterances of all models, one model after the other, and `(num_models,)` how many each has.

    Raises:
        DataError: no models, a model without utterances, or an utterance without embedding.
    """
    if not utterances_of:
        raise DataError("there is no model to enroll")
    counts = np.array([len(utterances) for utterances in utterances_of.values()])
    if not counts.all():
        raise DataError(f"the model {plain(list(utterances_of)[int(np.argmin(counts))])} has no utterances")
    rows = np.concatenate([embeddings.rows(utterances) for utterances in utterances_of.values()])
    if rows.min() < 0:
        _refuse_unknown(embeddings, utterances_of)
    return rows, counts


def _refuse_unknown(embeddings: EmbeddingSet, utterances_of: Models) -> None:
    missing = {utterance: model for model, listed in utterances_of.items() for utterance in listed if utterance not in embeddings.row}
    first, model = next(iter(missing.items()))
    more = f" ({len(missing)} utterances are missing: {examples(list(missing))})" if len(missing) > 1 else ""
    raise DataError(
        f"{plain(first)}, of the model {plain(model)}, has no embedding in {plain(embeddings.path)}{more}; extract it or leave it out"
    )


def only_known(embeddings: EmbeddingSet, utterances_of: Models) -> dict[str, list[str]]:
    """The map without utterances that have no embedding, and without models that are then empty."""
    known = {model: [utterance for utterance in listed if utterance in embeddings.row] for model, listed in utterances_of.items()}
    return {model: listed for model, listed in known.items() if listed}


def enroll_to_directory(dvectors: Path, spk2utt: Path, out: Path, overwrite: bool = False) -> int:
    """Write `out/dvector.scp` with its archive, and `out/num_utts`, the utterances per model; the number of models.

    Raises:
        SvError: what `enroll` refuses, or an output directory that holds something else.
    """
    if os.path.realpath(out / f"{TABLE}.scp") == os.path.realpath(dvectors):
        raise OutputError(f"{plain(dvectors)}: would be replaced by the models made of it; choose another output directory")
    embeddings, utterances_of = read_embeddings(dvectors), read_enrollment(spk2utt)
    models = enroll(embeddings, utterances_of)
    job = {
        "command": "sv-enroll",
        "version": __version__,
        "model": embeddings.model,
        "models": digest_of(utterances_of),
        "vectors": sha256_bytes(embeddings.vectors.tobytes()),
    }
    with Work(out, NAME, job, TABLE, overwrite=overwrite) as work:
        if not work.is_done():
            work.begin()
            _write(work, models)
    return len(models.model_ids)


def _write(work: Work, models: EnrollmentModels) -> None:
    row = {model: index for index, model in enumerate(models.model_ids)}
    work.shards(sorted(row), str, lambda ids: ((model, models.embeddings[row[model]]) for model in ids))
    work.table("num_utts", {model: str(count) for model, count in zip(models.model_ids, models.num_utterances)})
    work.finish({"models": len(models.model_ids), "utterances": int(models.num_utterances.sum())})
