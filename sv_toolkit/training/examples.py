"""What a training draws from, as arrays: usable utterances grouped by speaker, with every one that is left out named."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import DataError, examples, plain
from sv_toolkit.features.prepare import InputConfig, normalization
from sv_toolkit.training.frames import Frames
from sv_toolkit.training.index import TrainingIndex

logger = logging.getLogger("sv_toolkit")


@dataclass(frozen=True)
class Usable:
    """The utterances of an index that a training may draw, grouped by speaker.

    Attributes:
        utterances: `(n,)` places in the index.
        speakers: ids, sorted by bytes, of those that have any.
        ends: `(num_speakers + 1,)`: utterances `ends[s]` to `ends[s + 1]` are of speaker `s`.
        short, lonely: places in the index of utterances with too few frames, and of those whose speaker has too few utterances.
    """

    utterances: np.ndarray
    speakers: list[str]
    ends: np.ndarray
    short: np.ndarray
    lonely: np.ndarray


def select_usable(index: FeatureIndex, table: TrainingIndex, shortest: int, min_utterances: int) -> Usable:
    """Utterances of at least `shortest` selected frames, of speakers that have at least `min_utterances` of them."""
    is_bad = np.zeros(len(table), bool)
    is_bad[list(table.bad)] = True
    is_long = (table.num_frames >= max(shortest, 1)) & ~is_bad
    counts = np.bincount(index.speaker_codes[is_long], minlength=len(index.speakers))
    has_enough = counts >= max(min_utterances, 1)
    usable = np.flatnonzero(is_long & has_enough[index.speaker_codes])
    return Usable(
        utterances=usable[np.argsort(index.speaker_codes[usable], kind="stable")],
        speakers=[index.speakers[code] for code in np.flatnonzero(has_enough)],
        ends=np.concatenate([[0], np.cumsum(counts[has_enough])]),
        short=np.flatnonzero(~is_long & ~is_bad),
        lonely=np.flatnonzero(is_long & ~has_enough[index.speaker_codes]),
    )


@dataclass
class Examples:
    """Training material of one data directory.

    An utterance is a number here, its *place*: 0, 1, ... in the order of `usable.utterances`.

    Attributes:
        frames: where crops come from.
        num_frames: `(num_utterances,)` selected frames.
        ids: names of the utterances of the index, for messages.
        left_out: reason by utterance id, for skipped.tsv.
        originals: `(num_utterances,)` place of the recording that an utterance is a copy of, or its own.
        sessions: `(num_utterances,)` code of the session; empty where nobody asked.
    """

    frames: Frames
    usable: Usable
    table: TrainingIndex
    input: InputConfig
    ids: Sequence[str]
    left_out: dict[str, str]
    originals: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    sessions: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        self.num_frames = np.asarray(self.table.num_frames[self.usable.utterances])
        if not len(self.originals):
            self.originals = np.arange(len(self))

    def __len__(self) -> int:
        return len(self.usable.utterances)

    @property
    def dim(self) -> int:
        """Bands of a frame."""
        return int(self.table.mean.shape[1])

    @property
    def speakers(self) -> list[str]:
        """Ids, sorted by bytes; a speaker's place is its index."""
        return self.usable.speakers

    def name(self, place: int) -> str:
        """Id of an utterance."""
        return self.ids[int(self.usable.utterances[place])]

    def normalization(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What normalisation subtracts from each utterance and multiplies it by, two `(len(places), dim)` float32."""
        rows = self.usable.utterances[places]
        return normalization(self.table.mean[rows], self.table.deviation[rows], self.input)


def left_out(index: FeatureIndex, table: TrainingIndex, usable: Usable, shortest: int, min_utterances: int) -> dict[str, str]:
    """Why utterances are not drawn, by id."""
    found = {index.ids[place]: reason for place, reason in table.bad.items()}
    for place in usable.short.tolist():
        count = int(table.num_frames[place])
        found[index.ids[place]] = f"too short: {count} of at least {shortest} frames" if count else "no speech"
    own = np.bincount(index.speaker_codes[usable.lonely], minlength=len(index.speakers))
    for place in usable.lonely.tolist():
        code = int(index.speaker_codes[place])
        found[index.ids[place]] = f"speaker {plain(index.speakers[code])} has {own[code]} usable utterances, {min_utterances} are needed"
    return found


def refuse_nothing_usable(index: FeatureIndex, table: TrainingIndex, usable: Usable, shortest: int) -> None:
    """Stop where no utterance is long enough.

    Raises:
        DataError: with the longest, and the options.
    """
    if len(usable.utterances) == 0 and len(usable.lonely) == 0:
        longest = int(table.num_frames.max(initial=0))
        raise DataError(
            f"{plain(index.path)}: no usable utterance: the longest has {longest} frames, {shortest} are needed; "
            "lower min_frames, max_frames or shortest in [batch] (--window-frames)"
        )


def warn_of(index: FeatureIndex, table: TrainingIndex, found: dict[str, str]) -> None:
    """Name what is left out, and what holds nothing to learn from."""
    bad = {index.ids[place]: reason for place, reason in table.bad.items()}
    for utterance, reason in list(bad.items())[:3]:
        logger.warning("left out %s: %s", plain(utterance), reason)
    reasons = {key: reason for key, reason in found.items() if key not in bad}
    if reasons:
        first = "; ".join(f"{plain(key)}: {reason}" for key, reason in sorted(reasons.items())[:3])
        logger.warning("%d utterances are left out of training (skipped.tsv has all): %s", len(reasons), first)
    constant = [index.ids[place] for place in np.flatnonzero(table.is_constant).tolist()]
    if constant:
        logger.warning(
            "%d utterances have constant features (variance 0), nothing can be learned from them: %s", len(constant), examples(constant)
        )
