"""I-vectors for a data directory: features in, `ivector.scp` out."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.digests import STORED
from sv_toolkit.data.feature_making import refuse_unlike
from sv_toolkit.errors import ArchiveError, DataError, ModelError, plain
from sv_toolkit.extraction.pipeline import Extraction, RunOptions, run
from sv_toolkit.io.shards import Skip, Written
from sv_toolkit.ivector.frames import opened, posteriors_digest
from sv_toolkit.ivector.gmm import FullGmm
from sv_toolkit.ivector.statistics import alignment, utterance_statistics
from sv_toolkit.ivector.store import Description, load_system, read_description
from sv_toolkit.ivector.total_variability import TotalVariability, gram, posterior, whiten

COMMAND, NAME, TABLE = "sv-extract-ivector", "ivector", "ivector"
SMALL = 128  # utterances below which starting more processes takes longer than the work


def extract_ivectors(model: Path, data: Path, out: Path, options: RunOptions, posteriors: Path | None = None) -> int:
    """Write `out/ivector.scp` for the utterances of `data`; the number of i-vectors.

    Args:
        posteriors: scp of frame posteriors; needed where the model was trained with such, refused elsewhere.

    Raises:
        ModelError: the model is damaged, or the features were made in another way than those it was trained on.
        OutputError, TooManyBadError: as `pipeline.run`.
    """
    description, known = read_description(model)
    _refuse_other_alignment(model, description, posteriors)
    opened.cache_clear()
    _system.cache_clear()
    frames = opened(data, description.config.frames, posteriors)
    use_vad = description.config.frames.use_vad
    refuse_unlike(frames.index, description.feature_dim, description.features, use_vad, f"the model {plain(model)}")
    num_classes = description.config.ubm.num_components
    if posteriors is not None and frames.num_classes != num_classes:
        raise ModelError(f"{plain(posteriors)}: posteriors have {frames.num_classes} columns, the model {plain(model)} needs {num_classes}")
    source = DataDir.read(data, require=("utt2spk", "feats.scp"))
    extra = {"model": known["sha256"], "posteriors": posteriors_digest(posteriors)}
    extraction = Extraction(COMMAND, NAME, TABLE, {}, extra, inputs=STORED, is_data_dir=False)
    process = partial(ivector_shard, model, (data, description.config.frames, posteriors))

    def speakers(written: Written) -> dict[str, dict[str, str]]:
        return {"utt2spk": {key: frames.index.utt2spk[key] for key in written.scp}}

    return run(extraction, source, out, frames.index.utterances, str, process, options, speakers)


def ivector_shard(model: Path, key: tuple[Any, ...], utterances: list[str]) -> Iterator[tuple[str, np.ndarray | Skip]]:
    """The i-vector, or the reason why there is none, of every utterance."""
    gmm, total, squares, description = _system(model)
    align, frames = alignment(gmm, description.config.ubm, description.alignment == "posteriors"), opened(*key)
    for utterance in utterances:
        try:
            counts, sums = utterance_statistics(frames, [utterance], align)
        except (DataError, ArchiveError) as error:
            yield utterance, Skip(str(error))
            continue
        yield utterance, ivectors(counts, sums, gmm, total, squares)[0].astype(np.float32)


def ivectors(counts: np.ndarray, sums: np.ndarray, gmm: FullGmm, total: TotalVariability, squares: np.ndarray) -> np.ndarray:
    """I-vectors `(num_utterances, ivector_dim)` of statistics: the means of the posteriors.

    Args:
        counts: `(num_utterances, num_components)`.
        sums: `(num_utterances, num_components, dim)`.
        squares: `gram(total)`.
    """
    return posterior(counts, whiten(counts, sums, gmm), total, squares).means


@lru_cache(maxsize=1)
def _system(model: Path) -> tuple[FullGmm, TotalVariability, np.ndarray, Description]:
    gmm, total, description = load_system(model)
    return gmm, total, gram(total), description


def _refuse_other_alignment(model: Path, description: Description, posteriors: Path | None) -> None:
    if description.alignment == "posteriors" and posteriors is None:
        raise ModelError(f"{plain(model)}: was trained with given posteriors; give those of this data with --posteriors")
    if description.alignment == "ubm" and posteriors is not None:
        raise ModelError(f"{plain(model)}: aligns frames by its own background model; leave out --posteriors")
