"""Features for a data directory, filter banks or cepstra: recordings in, `feats.scp` and `utt2num_frames` out."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit.config import as_table
from sv_toolkit.data.data_dir import DataDir, Utterance
from sv_toolkit.errors import AudioError, plain
from sv_toolkit.extraction.pipeline import AudioOptions, Extraction, RunOptions, run
from sv_toolkit.features.fbank_config import FbankConfig
from sv_toolkit.features.mfcc import MfccConfig
from sv_toolkit.features.registry import FEATURES, FeatureConfig
from sv_toolkit.io.audio import Waveform, read_waveform
from sv_toolkit.io.shards import Skip, Written

logger = logging.getLogger("sv_toolkit")
TABLE = "feats"

Compute = Callable[[np.ndarray, Any, "np.random.Generator | None"], np.ndarray]


def extract_fbank(data: Path, out: Path, config: FbankConfig, audio: AudioOptions, options: RunOptions, seed: int = 0) -> int:
    """Write features of all utterances of `data` to the directory `out` (which may be `data`); the number of matrices.

    Args:
        seed: of the dither; every utterance draws from a generator of its own, made of the seed and its id.

    Raises:
        DataError: the data directory is damaged.
        OutputError, TooManyBadError: as `pipeline.run`.
    """
    return extract_features("fbank", data, out, config, audio, options, seed)


def extract_mfcc(data: Path, out: Path, config: MfccConfig, audio: AudioOptions, options: RunOptions, seed: int = 0) -> int:
    """As `extract_fbank`, with cepstra instead of log-mel energies."""
    return extract_features("mfcc", data, out, config, audio, options, seed)


def extract_features(
    name: str, data: Path, out: Path, config: FeatureConfig, audio: AudioOptions, options: RunOptions, seed: int = 0
) -> int:
    """As `extract_fbank`, with the features that `FEATURES` calls `name`."""
    feature = FEATURES[name]
    source = DataDir.read(data, allow_pipes=audio.allow_pipes)
    extra = {"audio": audio.job(), **({"seed": seed} if config.dither else {})}
    rivals = tuple(FEATURES.keys() - {name})
    extraction = Extraction(feature.command, name, TABLE, as_table(config), extra, rivals=rivals)
    process = partial(feature_shard, feature.compute, config, audio, seed)
    return run(extraction, source, out, source.utterances(), attrgetter("utterance_id"), process, options, num_frames_table)


def num_frames_table(written: Written) -> Mapping[str, Mapping[str, str]]:
    """`utt2num_frames`, from the shapes of what was written."""
    return {"utt2num_frames": {key: str(shape[0]) for key, shape in written.shapes.items()}}


def feature_shard(
    compute: Compute, config: FeatureConfig, audio: AudioOptions, seed: int, utterances: list[Utterance]
) -> Iterator[tuple[str, np.ndarray | Skip]]:
    """Features, or the reason why there are none, of every utterance."""
    overdriven = Overdriven()
    for utterance in utterances:
        yield utterance.utterance_id, _features(compute, config, audio, seed, utterance, overdriven)
    overdriven.warn()


def _features(
    compute: Compute, config: FeatureConfig, audio: AudioOptions, seed: int, utterance: Utterance, overdriven: Overdriven
) -> np.ndarray | Skip:
    try:
        waveform = read_waveform(audio.request(utterance, config.sample_rate))
        overdriven.count(utterance.utterance_id, waveform)
        rng = utterance_rng(seed, utterance.utterance_id) if config.dither else None
        with np.errstate(over="ignore", invalid="ignore"):  # a sample beyond all sound; it is named below
            features = compute(waveform.samples, config, rng)
    except AudioError as error:
        return Skip(str(error))
    except MemoryError:
        return Skip("not enough memory for a recording of this length; cut it into segments, or use a smaller --nj")
    if len(features) == 0:
        return Skip(too_short(len(waveform.samples), config))
    return features if np.isfinite(features).all() else Skip("the features are not finite")


def too_short(num_samples: int, config: FeatureConfig) -> str:
    """The reason for skipping a waveform of which there is no frame."""
    return (
        f"too short: {num_samples / config.sample_rate * 1000:.1f} ms of sound, shorter than one frame of {config.frame_length * 1000:g} ms"
    )


def utterance_rng(seed: int, utterance_id: str) -> np.random.Generator:
    """A generator of the utterance's own, so that neither order nor number of jobs can matter."""
    digest = hashlib.sha256(utterance_id.encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, dtype="<u4").tolist()])


class Overdriven:
    """Counts the utterances of a shard with samples beyond [-1, 1), for one warning instead of many."""

    def __init__(self) -> None:
        self.num_utterances, self.num_samples, self.worst, self.peak = 0, 0, "", 0.0

    def count(self, utterance_id: str, waveform: Waveform) -> None:
        """Take note of a waveform."""
        if waveform.clipped:
            self.num_utterances += 1
            self.num_samples += waveform.clipped
            if waveform.peak > self.peak:
                self.worst, self.peak = utterance_id, waveform.peak

    def warn(self) -> None:
        """Say what was found, if anything was."""
        if self.num_utterances:
            logger.warning(
                "%d utterance(s) with %d samples beyond the range [-1, 1), which integer formats would clip; the worst is %s with a peak of %.2f",
                self.num_utterances,
                self.num_samples,
                plain(self.worst),
                self.peak,
            )
