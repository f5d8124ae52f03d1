"""The frames of a data directory as Gaussians see them, in shards that do not depend on the number of jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sv_toolkit.data.digests import tables_digest
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import ArchiveError, DataError, examples, plain
from sv_toolkit.features.cmvn import sliding_cmvn, utterance_cmvn
from sv_toolkit.features.deltas import add_deltas
from sv_toolkit.io.archives import ScpReader
from sv_toolkit.io.manifest import digest_of
from sv_toolkit.io.shards import cut_shards
from sv_toolkit.io.workers import run_tasks
from sv_toolkit.ivector.config import FrameConfig

Result = TypeVar("Result")
BLOCK = 4096  # frames aligned together
PRELOAD_BYTES = 1 << 31  # frames of smaller data are kept in memory instead of being read again in every iteration


def speech_frames(features: np.ndarray, is_voiced: np.ndarray | None, config: FrameConfig) -> np.ndarray:
    """Frames `(num_voiced, (delta_order + 1) * dim)` float32 of one utterance.

    Args:
        features: `(num_frames, dim)` as stored in feats.scp.
        is_voiced: `(num_frames,)` bool, or None to keep every frame.
    """
    frames = add_deltas(features, config.delta_order, config.delta_window)
    if config.cmvn == "sliding":
        frames = sliding_cmvn(frames, window=config.cmvn_window, center=config.cmvn_center, variance=config.cmvn_variance)
    if is_voiced is not None:
        frames = frames[is_voiced]
    if config.cmvn == "utterance":
        frames = utterance_cmvn(frames, config.cmvn_variance)
    if config.cmvn == "level" and len(frames):
        frames[:, 0] -= frames[:, 0].mean(dtype=np.float64)
    return frames


class Block(NamedTuple):
    """Frames of some utterances, one after the other, and their given posteriors if there are any."""

    utterances: list[str]
    starts: list[int]
    frames: np.ndarray
    posteriors: np.ndarray | None


class Frames:
    """Frames, and where they are given their posteriors, by utterance.

    Args:
        data: data directory.
        posteriors: scp of matrices `(num_frames, num_components)` for all frames, voiced or not; None: there are none.

    Attributes:
        num_classes: columns of every matrix of posteriors.

    Raises:
        DataError: a table is missing or lists other utterances.
    """

    def __init__(self, data: Path, config: FrameConfig, posteriors: Path | None) -> None:
        self.config = config
        self.index = FeatureIndex(data, need_vad=config.use_vad)
        self.posteriors = None if posteriors is None else ScpReader(posteriors)
        self.num_classes = 0 if self.posteriors is None else self._first_columns(self.posteriors)
        self._kept: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}

    @property
    def dim(self) -> int:
        """Columns of the frames."""
        return self.index.dim * (self.config.delta_order + 1)

    def _first_columns(self, reader: ScpReader) -> int:
        for utterance in self.index.utterances:
            try:
                shape = reader.shape(utterance) if utterance in reader else ()
            except ArchiveError:
                continue  # reading it will name the damage
            if len(shape) == 2:
                return int(shape[1])
        return 0

    def read(self, utterance: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Frames `(num_voiced, dim)` and their posteriors `(num_voiced, num_components)`, or None.

        Raises:
            DataError, ArchiveError: the message names the utterance and what is wrong.
        """
        if utterance in self._kept:
            return self._kept[utterance]
        features, is_voiced = self.index.read(utterance)
        frames = speech_frames(features, is_voiced, self.config)
        if len(frames) < self.config.shortest:
            raise DataError(f"too short: {len(frames)} frames of speech, at least {self.config.shortest} are needed")
        if self.posteriors is None:
            return frames, None
        posteriors = self._read_posteriors(self.posteriors, utterance, len(features))
        return frames, posteriors if is_voiced is None else posteriors[is_voiced]

    def _read_posteriors(self, reader: ScpReader, utterance: str, num_frames: int) -> np.ndarray:
        if utterance not in reader:
            raise DataError(f"{plain(utterance)}: no posteriors in {plain(reader.path)}")
        posteriors = reader.read(utterance)
        if posteriors.ndim != 2 or posteriors.shape[1] != self.num_classes:
            columns = posteriors.shape[1] if posteriors.ndim == 2 else "no"
            raise DataError(f"{plain(utterance)}: posteriors have {columns} columns, the others have {self.num_classes}")
        if len(posteriors) != num_frames:
            raise DataError(f"{plain(utterance)}: posteriors of {len(posteriors)} frames, the features have {num_frames}")
        sums = posteriors.sum(axis=1)
        if not (posteriors >= 0).all() or not (sums <= 1.001).all():
            raise DataError(
                f"{plain(utterance)}: posteriors must not be negative and add up to 1 at most, found {posteriors.min():g} and {sums.max():g}"
            )
        return posteriors

    def keep(self, utterances: Sequence[str]) -> None:
        """Hold the frames of the utterances in memory; processes that are forked later share them."""
        self._kept = {utterance: self.read(utterance) for utterance in utterances}

    def blocks(self, utterances: Sequence[str]) -> Iterator[Block]:
        """The frames of the utterances, about `BLOCK` at a time, never less than an utterance."""
        names: list[str] = []
        parts: list[tuple[np.ndarray, np.ndarray | None]] = []
        for utterance in utterances:
            names.append(utterance)
            parts.append(self.read(utterance))
            if sum(len(part[0]) for part in parts) >= BLOCK:
                yield _joined(names, parts)
                names, parts = [], []
        if names:
            yield _joined(names, parts)


def _joined(names: list[str], parts: list[tuple[np.ndarray, np.ndarray | None]]) -> Block:
    lengths = [len(frames) for frames, _ in parts]
    given = [posteriors for _, posteriors in parts if posteriors is not None]
    return Block(
        names,
        [0, *np.cumsum(lengths[:-1]).tolist()],
        np.concatenate([frames for frames, _ in parts]).astype(np.float64),
        np.concatenate(given).astype(np.float64) if given else None,
    )


@lru_cache(maxsize=2)
def opened(data: Path, config: FrameConfig, posteriors: Path | None) -> Frames:
    """The frames of a data directory, once per process; `opened.cache_clear()` before files may have changed."""
    return Frames(data, config, posteriors)


def posteriors_digest(posteriors: Path | None) -> str | None:
    """Digest of the scp of given posteriors and of its archives, None where there are none."""
    return None if posteriors is None else digest_of(tables_digest(posteriors.parent, [posteriors.name], [posteriors.name]))


def survey(frames: Frames, num_jobs: int) -> tuple[dict[str, int], dict[str, str]]:
    """Number of frames of every utterance that can be used, and the reasons why others cannot; keeps them where they are few."""
    source = (frames.index.path, frames.config, None if frames.posteriors is None else frames.posteriors.path)
    found: dict[str, int | str] = {}
    for part in over_shards(partial(_survey_shard, source), cut_shards(frames.index.utterances), num_jobs):
        found.update(part)
    lengths = {key: value for key, value in found.items() if isinstance(value, int)}
    if sum(lengths.values()) * frames.dim * 4 <= PRELOAD_BYTES and frames.posteriors is None:
        frames.keep(list(lengths))
    return lengths, {key: value for key, value in found.items() if isinstance(value, str)}


def _survey_shard(source: Any, utterances: list[str]) -> dict[str, int | str]:
    found: dict[str, int | str] = {}
    for utterance in utterances:
        try:
            found[utterance] = len(opened(*source).read(utterance)[0])
        except (DataError, ArchiveError) as error:
            found[utterance] = str(error)
    return found


def over_shards(function: Callable[[list[str]], Result], shards: list[list[str]], num_jobs: int) -> list[Result]:
    """Results of `function` for every shard, in the order of the shards.

    Shards are cut by the number of utterances alone: sums over the results, taken in order, have the same bits for any
    number of jobs.
    """
    tasks = list(enumerate(shards))
    results = dict(run_tasks(partial(_numbered, function), tasks, num_jobs, lambda task: examples(task[1], 2)))
    return [results[number] for number, _ in tasks]


def _numbered(function: Callable[[list[str]], Result], task: tuple[int, list[str]]) -> tuple[int, Result]:
    return task[0], function(task[1])
