"""What a training draws from: frames by utterance, utterances by speaker, with every left-out one named."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np

from sv_toolkit.data.feature_index import FeatureIndex, read_all
from sv_toolkit.errors import DataError, examples, plain
from sv_toolkit.features.prepare import InputConfig, offset_and_gain, select_frames

logger = logging.getLogger("sv_toolkit")


class Frames:
    """Selected frames of utterances, in memory or read from the archive range by range."""

    def __init__(self, index: FeatureIndex, config: InputConfig) -> None:
        self.index, self.config = index, config
        self.kept: dict[str, np.ndarray] = {}
        self.voiced: dict[str, np.ndarray | None] = {}

    def keep(self, utterance: str, frames: np.ndarray) -> None:
        """Hold the selected frames in memory."""
        self.kept[utterance] = np.ascontiguousarray(frames)

    def remember(self, utterance: str, is_voiced: np.ndarray | None) -> None:
        """Hold only which rows of the archive are selected."""
        rows = None if is_voiced is None or not self.config.use_vad else np.flatnonzero(is_voiced).astype(np.int32)
        self.voiced[utterance] = rows

    def cut(self, utterance: str, start: int, stop: int) -> np.ndarray:
        """Selected frames `[start, stop)`, before normalisation."""
        if utterance in self.kept:
            return self.kept[utterance][start:stop]
        rows = self.voiced[utterance]
        if self.config.cmvn == "sliding":  # its window reaches beyond the crop
            return select_frames(*self.index.read(utterance), self.config)[start:stop]
        if rows is None:
            return self.index.features.rows(utterance, start, stop)
        first = int(rows[start])
        return self.index.features.rows(utterance, first, int(rows[stop - 1]) + 1)[rows[start:stop] - first]


@dataclass
class Examples:
    """Training material.

    Attributes:
        speakers: ids, sorted by bytes; a speaker's place is its index.
        by_speaker: per speaker, the ids of its usable utterances.
        num_frames: selected frames per utterance.
        offset, gain: normalisation per utterance, each `(dim,)`.
        left_out: reason by utterance id, for skipped.tsv.
    """

    frames: Frames
    dim: int
    speakers: list[str] = field(default_factory=list)
    by_speaker: list[list[str]] = field(default_factory=list)
    num_frames: dict[str, int] = field(default_factory=dict)
    offset: dict[str, np.ndarray] = field(default_factory=dict)
    gain: dict[str, np.ndarray] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def crop(self, utterance: str, start: int, stop: int) -> np.ndarray:
        """Network input of the selected frames `[start, stop)`."""
        return (self.frames.cut(utterance, start, stop) - self.offset[utterance]) * self.gain[utterance]


def load_examples(
    index: FeatureIndex, config: InputConfig, shortest: int, min_utterances: int, max_bad: int, preload_gb: float = 8.0
) -> Examples:
    """Read every utterance once: check it, select its frames, measure its normalisation.

    Utterances with fewer than `shortest` selected frames, then speakers with fewer than `min_utterances`
    utterances, are left out, with a warning that counts and names them.

    Raises:
        DataError: nothing usable remains; TooManyBadError: unreadable utterances beyond `max_bad`.
    """
    frames = Frames(index, config)
    found = Examples(frames, index.dim)
    constant: list[str] = []
    budget = preload_gb * 2**30

    def use(utterance: str, features: np.ndarray, is_voiced: np.ndarray | None) -> None:
        nonlocal budget
        selected = select_frames(features, is_voiced, config)
        found.num_frames[utterance] = len(selected)
        if len(selected) < shortest:
            found.left_out[utterance] = "no speech" if len(selected) == 0 else f"too short: {len(selected)} of at least {shortest} frames"
            return
        if float(np.ptp(selected)) < 1e-6:
            constant.append(utterance)
        found.offset[utterance], found.gain[utterance] = offset_and_gain(selected, config)
        budget -= selected.nbytes
        frames.keep(utterance, selected) if budget >= 0 else frames.remember(utterance, is_voiced)

    bad = read_all(index, use, max_bad)
    found.left_out.update(bad)
    _group_speakers(found, index, min_utterances, shortest)
    _warn(found, bad, constant, min_utterances)
    return found


def _group_speakers(found: Examples, index: FeatureIndex, min_utterances: int, shortest: int) -> None:
    usable: dict[str, list[str]] = {}
    for utterance in index.utterances:
        if utterance in found.offset:
            usable.setdefault(index.utt2spk[utterance], []).append(utterance)
    for speaker, own in sorted(usable.items()):
        if len(own) >= min_utterances:
            found.speakers.append(speaker)
            found.by_speaker.append(own)
        else:
            found.left_out.update(
                {utterance: f"speaker {plain(speaker)} has {len(own)} usable utterances, {min_utterances} are needed" for utterance in own}
            )
    if not usable:
        longest = max(found.num_frames.values(), default=0)
        raise DataError(
            f"{plain(index.path)}: no usable utterance: the longest has {longest} frames, {shortest} are needed; "
            "lower min_frames, max_frames or shortest in [batch] (--window-frames)"
        )


def _warn(found: Examples, bad: dict[str, str], constant: list[str], min_utterances: int) -> None:
    for utterance, reason in list(bad.items())[:3]:
        logger.warning("left out %s: %s", plain(utterance), reason)
    reasons = {key: reason for key, reason in found.left_out.items() if key not in bad}
    if reasons:
        first = "; ".join(f"{plain(key)}: {reason}" for key, reason in sorted(reasons.items())[:3])
        logger.warning("%d utterances are left out of training (skipped.tsv has all): %s", len(reasons), first)
    if constant:
        logger.warning(
            "%d utterances have constant features (variance 0), nothing can be learned from them: %s", len(constant), examples(constant)
        )
