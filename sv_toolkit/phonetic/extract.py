"""Posteriors of a frame classifier for a data directory: features in, `posteriors.scp` out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.digests import STORED
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.data.feature_making import refuse_unlike
from sv_toolkit.errors import ArchiveError, DataError, plain
from sv_toolkit.extraction.pipeline import Extraction, RunOptions, run
from sv_toolkit.io.shards import Skip
from sv_toolkit.phonetic.store import load_classifier, read_description

COMMAND, NAME, TABLE = "sv-extract-posteriors", "posteriors", "posteriors"


def extract_posteriors(model: Path, data: Path, out: Path, options: RunOptions, num_largest: int | None = None) -> int:
    """Write `out/posteriors.scp` for the utterances of `data`; the number of matrices `(num_frames, num_classes)`.

    Args:
        num_largest: keep so many of every frame, scaled to add up to 1, and make the others 0; None: all.

    Raises:
        ModelError: the model is damaged, or the features were made in another way than those it was trained on.
        OutputError, TooManyBadError: as `pipeline.run`.
    """
    description, known = read_description(model)
    _classifier.cache_clear()
    _index.cache_clear()
    index = FeatureIndex(data, need_vad=False)
    refuse_unlike(index, description.feature_dim, description.features, False, f"the classifier {plain(model)}")
    source = DataDir.read(data, require=("utt2spk", "feats.scp"))
    config = {"num_largest": num_largest}
    extraction = Extraction(COMMAND, NAME, TABLE, config, {"model": known["sha256"]}, inputs=STORED, is_data_dir=False)
    return run(extraction, source, out, index.utterances, str, partial(posterior_shard, model, data, num_largest), options)


def posterior_shard(model: Path, data: Path, num_largest: int | None, utterances: list[str]) -> Iterator[tuple[str, np.ndarray | Skip]]:
    """The posteriors, or the reason why there are none, of every utterance."""
    from sv_toolkit.phonetic.network import posteriors

    (network, description), index = _classifier(model), _index(data)
    for utterance in utterances:
        try:
            features, _ = index.read(utterance)
        except (DataError, ArchiveError) as error:
            yield utterance, Skip(str(error))
            continue
        yield utterance, largest(posteriors(network, features, description.config), num_largest)


def largest(posteriors: np.ndarray, num_largest: int | None) -> np.ndarray:
    """The largest numbers of every row, scaled to add up to 1, the others 0."""
    num_classes = posteriors.shape[1]
    if num_largest is None or num_largest >= num_classes:
        return posteriors
    least = np.partition(posteriors, num_classes - num_largest, axis=1)[:, num_classes - num_largest, None]
    kept = np.where(posteriors >= least, posteriors, 0)
    return kept / kept.sum(axis=1, keepdims=True)


@lru_cache(maxsize=1)
def _classifier(model: Path):  # type: ignore[no-untyped-def]  # its type would import torch
    import torch

    torch.set_num_threads(1)  # there is one process for each processor
    return load_classifier(model)


@lru_cache(maxsize=1)
def _index(data: Path) -> FeatureIndex:
    return FeatureIndex(data, need_vad=False)
