"""Scores of a trial list with a stored back end: transforms, enrollment from several utterances, PLDA or the cosine."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from sv_toolkit.backends.backend import Backend
from sv_toolkit.backends.fitting import KIND, refuse_other_model
from sv_toolkit.backends.store import load_backend
from sv_toolkit.data.enrollment import Models
from sv_toolkit.data.trials import Trials
from sv_toolkit.embeddings.directions import refuse_cancelled
from sv_toolkit.embeddings.enrollment import member_rows, only_known
from sv_toolkit.embeddings.loading import EmbeddingSet
from sv_toolkit.embeddings.lookup import Lookup, find_embeddings, load_sides
from sv_toolkit.errors import DataError, plain
from sv_toolkit.io.tables import place

logger = logging.getLogger("sv_toolkit")


def score_with_backend(
    folder: Path,
    listed: Trials,
    enroll_scp: Path | None,
    test_scp: Path | None,
    models: Models | None,
    allow_missing: bool = False,
    average: bool = False,
) -> tuple[Lookup, np.ndarray]:
    """The trials that can be scored and `(num_trials,)` float64 scores.

    With PLDA, a model of n utterances is scored by the posterior of the speaker given all n.

    Args:
        models: utterances of each id on the left; None where trials name utterances.
        average: score the mean over the utterances of a model as if it were one utterance.

    Raises:
        SvError: see `load_sides`, `find_embeddings` and `load_backend`; or another model made the embeddings.
    """
    backend, stored = load_backend(folder, KIND)
    left, right = load_sides(listed, enroll_scp, test_scp, None, allow_missing)
    for side in (left, right):
        refuse_other_model(stored.provenance, folder, side)
    test = _transformed(backend, right)
    enroll = test if left is right else _transformed(backend, left)
    counts = np.ones(len(left.ids))
    if models is not None:
        enroll, counts = _enrolled(backend, listed, enroll, models, allow_missing)
    elif (left.path.parent / "num_utts").exists() and backend.plda is not None:
        logger.warning(
            "%s: averages made by sv-enroll are scored as single utterances; --enroll-spk2utt scores all of them", plain(left.path)
        )
    found = find_embeddings(listed, enroll, test, allow_missing)
    used = np.ones(len(counts)) if average else counts
    return found, backend.score(enroll.vectors, used, test.vectors, found.enroll_index, found.test_index)


def _transformed(backend: Backend, embeddings: EmbeddingSet) -> EmbeddingSet:
    try:
        return EmbeddingSet(embeddings.path, embeddings.ids, backend.transform(embeddings.vectors), embeddings.model)
    except DataError as error:
        raise DataError(f"{place(embeddings.path)}: {error}") from None


def _enrolled(
    backend: Backend, listed: Trials, embeddings: EmbeddingSet, models: Models, allow_missing: bool
) -> tuple[EmbeddingSet, np.ndarray]:
    """Means over the utterances of the models that the trials name, and how many each has."""
    wanted: Models = {model: models[model] for model in listed.enroll_ids if model in models}
    members = only_known(embeddings, wanted) if allow_missing else wanted
    rows, counts = member_rows(embeddings, members)
    means = backend.enroll(embeddings.vectors, rows, counts)
    if backend.plda is None:
        refuse_cancelled(means, list(members), "the vectors of the model")
    return EmbeddingSet(embeddings.path, list(members), means, embeddings.model), counts
