"""The session control: how far a corpus can be told apart without hearing anybody speak.

Where every speaker was recorded once, level, channel and background identify the recording.  The mean spectrum of an
utterance's quietest frames holds little voice and much of these; the equal error rate of its cosine scores, with
nothing trained, belongs beside every result on such a corpus.

The level itself is taken off each vector, as networks here never see it either: what is left tells recordings apart
better (an equal error rate of 20 % instead of 27 on the test speakers of an4, 15 instead of 18 on Speech Commands).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import ArchiveError, DataError, plain
from sv_toolkit.extraction.pipeline import Extraction, RunOptions, is_same, run
from sv_toolkit.features.registry import without_powers
from sv_toolkit.features.vad import frame_log_energy
from sv_toolkit.io.shards import Skip, Written

COMMAND, NAME, TABLE = "sv-extract-control", "control", "dvector"
SHARE = 0.1


def quietest_mean(features: np.ndarray, share: float = SHARE) -> np.ndarray:
    """Mean of the quietest frames, `(dim,)` float64.

    Args:
        features: `(num_frames, dim)` log-mel energies, not trimmed; num_frames >= 1.
        share: part of the frames that counts as quiet; one frame at least.
    """
    if len(features) == 0:
        raise ValueError("there is no quietest frame among none")
    num_quiet = max(1, int(share * len(features)))
    quiet = np.argsort(frame_log_energy(features), kind="stable")[:num_quiet]
    return features[quiet].mean(axis=0, dtype=np.float64)


def extract_control(data: Path, out: Path, options: RunOptions) -> int:
    """Write the control vectors of all utterances of `data` to `out/dvector.scp`; the number of vectors.

    The mean over all utterances is taken off, so that the cosine compares directions and not the common spectrum.

    Raises:
        DataError: there are no features, or they do not fit the other tables.
        OutputError, TooManyBadError: as `pipeline.run`.
    """
    index = FeatureIndex(data, need_vad=False)
    if (kind := without_powers(index.made_by())) is not None:
        raise DataError(
            f"{plain(data)}/feats.scp: the control needs log-mel energies, these are {kind}; run sv-extract-fbank into another directory"
        )
    source = DataDir.read(data, require=("utt2spk", "feats.scp"))
    extraction = Extraction(COMMAND, NAME, TABLE, {"share": SHARE, "level": False}, inputs=("utt2spk", "feats.scp"), is_data_dir=False)

    def speakers(written: Written) -> dict[str, dict[str, str]]:
        return {} if is_same(data, out) else {"utt2spk": {key: index.utt2spk[key] for key in written.scp}}

    # Reading takes a moment, and the mean is needed before the first vector can be written: one process does it all.
    process = partial(_centered, control_vectors(index))
    return run(extraction, source, out, index.utterances, str, process, replace(options, num_jobs=1), speakers)


def control_vectors(index: FeatureIndex) -> dict[str, np.ndarray | Skip]:
    """The vector `(dim,)` of every utterance, its level taken off, or the reason why it has none."""
    vectors: dict[str, np.ndarray | Skip] = {}
    for utterance in index.utterances:
        try:
            vector = quietest_mean(index.read(utterance)[0])
            vectors[utterance] = vector - vector.mean()
        except (DataError, ArchiveError) as error:
            vectors[utterance] = Skip(plain(error, 1000))
    return vectors


def _centered(vectors: dict[str, np.ndarray | Skip], utterances: list[str]) -> Iterator[tuple[str, np.ndarray | Skip]]:
    known = [vector for vector in vectors.values() if not isinstance(vector, Skip)]
    mean = np.mean(known, axis=0) if known else np.zeros(())
    for utterance in utterances:
        vector = vectors[utterance]
        yield utterance, vector if isinstance(vector, Skip) else (vector - mean).astype(np.float32)
