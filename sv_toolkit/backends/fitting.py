"""Back ends from embeddings on disk: trained with the speakers of a data directory, or adapted without."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit import __version__
from sv_toolkit.backends.backend import Backend, BackendConfig
from sv_toolkit.backends.plda_adaptation import AdaptationConfig
from sv_toolkit.backends.store import ARRAYS, DESCRIPTION, load_backend, read_stored, save_backend
from sv_toolkit.config import as_table
from sv_toolkit.embeddings.loading import EmbeddingSet, read_embeddings
from sv_toolkit.errors import DataError, ModelError, OutputError, examples, plain
from sv_toolkit.io.files import sha256_bytes
from sv_toolkit.io.manifest import digest_of
from sv_toolkit.io.tables import place, read_table

logger = logging.getLogger("sv_toolkit")
KIND = "embedding-backend"


def train_backend(embeddings: Path, labels: Path, out: Path, config: BackendConfig, overwrite: bool = False) -> Backend:
    """Train on the embeddings of an scp file and write the folder `out`; a run that finds its work done does nothing.

    Args:
        labels: a data directory, or a file of lines 'utterance speaker'.

    Raises:
        SvError: embeddings or labels are damaged or do not belong together, too few of them, or `out` holds another back end.
    """
    vectors = read_embeddings(embeddings)
    speakers = speakers_of(vectors, labels)
    job = {
        "command": "sv-train-backend",
        "version": __version__,
        "model": vectors.model,
        "config": as_table(config),
        "speakers": digest_of(dict(zip(vectors.ids, speakers.tolist()))),
        "vectors": sha256_bytes(vectors.vectors.tobytes()),
    }
    counts = {"utterances": len(speakers), "speakers": len(np.unique(speakers)), "dim": vectors.vectors.shape[1]}
    return _once(out, job, counts, overwrite, lambda: Backend(config).fit(vectors.vectors, speakers))


def adapt_backend(
    backend: Path, embeddings: Path, out: Path, config: AdaptationConfig, recenter: bool = False, overwrite: bool = False
) -> Backend:
    """Adapt the PLDA model of the folder `backend` to the unlabelled embeddings of an scp file, and write the folder `out`.

    Raises:
        SvError: the embeddings are damaged or of another model, or `out` holds another back end.
    """
    vectors = read_embeddings(embeddings)
    trained, stored = load_backend(backend, KIND)
    refuse_other_model(stored.provenance, backend, vectors)
    job = {
        "command": "sv-adapt-backend",
        "version": __version__,
        "model": vectors.model or stored.provenance.get("job", {}).get("model"),
        "config": {**as_table(config), "recenter": recenter},
        "backend": stored.sha256,
        "vectors": sha256_bytes(vectors.vectors.tobytes()),
    }
    counts = {"utterances": len(vectors.ids), "dim": vectors.vectors.shape[1]}
    return _once(out, job, counts, overwrite, lambda: trained.adapted(vectors.vectors, config, recenter))


def _once(out: Path, job: dict[str, Any], counts: dict[str, int], overwrite: bool, make: Callable[[], Backend]) -> Backend:
    if (out / DESCRIPTION).exists() and not overwrite:
        if read_stored(out).provenance.get("job") != job:
            raise OutputError(f"{plain(out)}: holds another back end; choose another directory, or --overwrite replaces it")
        if (out / ARRAYS).exists():
            done, _ = load_backend(out, KIND)
            logger.info("%s: this back end is already there; nothing to do", plain(out))
            return done
    made = make()
    save_backend(out, KIND, made, {"job": job, "counts": counts})
    return made


def speakers_of(embeddings: EmbeddingSet, labels: Path) -> np.ndarray:
    """`(num_embeddings,)` speaker ids, from a data directory or its `utt2spk`.

    Raises:
        DataError: an embedding has no speaker: names some.
    """
    path = labels / "utt2spk" if labels.is_dir() else labels
    utt2spk = read_table(path, max_fields=2, names="utterance speaker")
    unknown = [key for key in embeddings.ids if key not in utt2spk]
    if unknown:
        raise DataError(
            f"{place(path)}: has no speaker for {len(unknown)} of {len(embeddings.ids)} embeddings of {place(embeddings.path)}: "
            f"{examples(unknown)}; do they belong together?"
        )
    lost = [key for key in utt2spk if key not in embeddings.row]
    if lost:
        logger.warning(
            "%s: %d of %d utterances have no embedding and are left out: %s", place(path), len(lost), len(utt2spk), examples(lost)
        )
    return np.array([utt2spk[key] for key in embeddings.ids])


def refuse_other_model(provenance: dict[str, Any], folder: Path, embeddings: EmbeddingSet) -> None:
    """Raise ModelError where the back end was trained on embeddings of another dimension or of another model."""
    dim, model = provenance.get("counts", {}).get("dim"), provenance.get("job", {}).get("model")
    found = embeddings.vectors.shape[1]
    if dim is not None and dim != found:
        raise ModelError(
            f"{plain(folder)}: takes embeddings of {dim} dimensions, {place(embeddings.path)} has {found}; extract with its model"
        )
    if model and embeddings.model and model != embeddings.model:
        raise ModelError(
            f"{plain(folder)}: was trained on embeddings of the model {plain(model)}, {place(embeddings.path)} was made by the model "
            f"{plain(embeddings.model)}; train a back end for this model"
        )
