"""What a detector is trained on: the frames of keyword recordings, of background and of noise, ready to be gathered."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sv_toolkit.data.data_dir import DataDir, Utterance
from sv_toolkit.errors import AudioError, DataError, TooManyBadError, plain
from sv_toolkit.extraction.pipeline import AudioOptions
from sv_toolkit.features.fbank import FbankConfig, fbank
from sv_toolkit.features.stacking import with_context
from sv_toolkit.features.vad import frame_log_energy
from sv_toolkit.io.audio import read_waveform

logger = logging.getLogger("sv_toolkit")
LEVEL_PERCENTILE = 90  # of the frame energies: how loud a recording is, whatever silence is around


@dataclass(frozen=True)
class Material:
    """Recordings one after the other, each with its context, so that every frame can be gathered with its neighbours.

    Attributes:
        extended: `(num_extended, num_bands)` float32.
        centers: `(num_frames,)` where the frames are in `extended`.
        bounds: `(num_recordings + 1,)` where each recording's frames begin among `centers`.
        levels: `(num_recordings,)` log energy.
    """

    extended: np.ndarray
    centers: np.ndarray
    bounds: np.ndarray
    levels: np.ndarray

    @classmethod
    def of(cls, recordings: Sequence[np.ndarray], left: int, right: int) -> Material:
        """Of features `(num_frames, num_bands)`, at least one frame each."""
        lengths = np.array([len(features) for features in recordings])
        starts = np.cumsum([0, *(lengths[:-1] + left + right)]) + left
        centers = np.concatenate([start + np.arange(length) for start, length in zip(starts, lengths)])
        extended = np.concatenate([with_context(features, left, right) for features in recordings])
        levels = np.array([np.percentile(frame_log_energy(features), LEVEL_PERCENTILE) for features in recordings], np.float32)
        return cls(extended, centers, np.concatenate([[0], np.cumsum(lengths)]), levels)

    def windows(self, frames: np.ndarray, left: int, right: int) -> np.ndarray:
        """`(num_chosen, left + 1 + right, num_bands)` around the frames with these numbers."""
        return self.extended[self.centers[frames][:, None] + np.arange(-left, right + 1)]

    def level_of(self, frames: np.ndarray) -> np.ndarray:
        """Log energy `(num_chosen,)` of the recordings that the frames are of."""
        return self.levels[np.searchsorted(self.bounds, frames, side="right") - 1]


def read_utterances(path: Path, allow_pipes: bool = False) -> tuple[DataDir, list[Utterance]]:
    """The data directory and its utterances."""
    data = DataDir.read(path, allow_pipes=allow_pipes)
    return data, data.utterances()


def words_of(data: DataDir) -> dict[str, str]:
    """Utterance -> word, of `utt2keyword`, or of `text` where there is none.

    Raises:
        DataError: neither table is there, or it leaves out an utterance.
    """
    for name in ("utt2keyword", "text"):
        table = data.table(name)
        if table is not None:
            missing = sorted(data.utt2spk.keys() - table.keys())
            if missing:
                raise DataError(f"{plain(data.path / name)}: has no line for {plain(missing[0])}; sv-fix-data drops such utterances")
            return {key: " ".join(table[key].split()).lower() for key in data.utt2spk}
    raise DataError(f"{plain(data.path)}: neither utt2keyword nor text is there, and one of them must say which word an utterance is")


class Bad:
    """Utterances that could not be used, and how many there may be."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reasons: dict[str, str] = {}

    def add(self, utterance_id: str, reason: str) -> None:
        """Count one.

        Raises:
            TooManyBadError: more than the limit.
        """
        self.reasons[utterance_id] = reason
        if len(self.reasons) > self.limit:
            raise TooManyBadError(f"{plain(utterance_id)}: {reason}; --max-bad {self.limit} allows no more such utterances")
        logger.warning("%s skipped: %s", plain(utterance_id), reason)


def read_features(
    utterances: Sequence[Utterance], config: FbankConfig, audio: AudioOptions, bad: Bad, speed: float = 1.0
) -> Iterator[tuple[Utterance, np.ndarray]]:
    """Filter banks of every utterance, sped up by `speed`; those without a frame are counted as bad."""
    for utterance in utterances:
        try:
            samples = read_waveform(audio.request(replace(utterance, speed=utterance.speed * speed), config.sample_rate)).samples
            features = fbank(samples, config)
            if len(features) == 0:
                raise AudioError(f"{plain(utterance.wav_where)}: shorter than one frame ({config.frame_length} s)")
        except AudioError as error:
            bad.add(utterance.utterance_id, str(error))
            continue
        yield utterance, features
