"""What a training has to know of every utterance before it draws the first batch, computed once and memory-mapped.

For every utterance: how many frames voice activity detection selects, where they lie in the archive, and their
mean and standard deviation per band, from which every normalisation follows.  `sv-index-features` computes it,
cut into parts where one machine is too slow; `sv-train` does so itself where it is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit.data.digests import INDICES, tables_digest
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import ArchiveError, DataError, TooManyBadError, plain
from sv_toolkit.io.manifest import digest_of

logger = logging.getLogger("sv_toolkit")
FORMAT = 1
CONSTANT = 1e-6  # features that vary by less hold nothing to learn from
SCALARS = {"num_frames": "<i4", "first_row": "<i4", "rows_at": "<i8", "position": "<i8", "is_constant": "|b1"}
PER_BAND = {"mean": "<f4", "deviation": "<f4"}


@dataclass(frozen=True)
class TrainingIndex:
    """Selected frames of every utterance of a `FeatureIndex`, in its order; arrays in memory or memory-mapped.

    Attributes:
        num_frames: `(num_utterances,)` selected frames; 0 for an utterance that cannot be read.
        first_row: `(num_utterances,)` row of the matrix in the archive that is the first selected one.
        rows_at: `(num_utterances,)` -1 where the selected rows follow one another, else where in `rows` they begin.
        rows: selected rows of the matrices, of all utterances with gaps.
        position: `(num_utterances,)` byte of the archive at which row 0 begins, -1 for records that are not plain float32.
        is_constant: `(num_utterances,)` all selected numbers are alike.
        mean, deviation: `(num_utterances, dim)` of the selected frames.
        bad: why an utterance cannot be read, by its place.
    """

    num_frames: np.ndarray
    first_row: np.ndarray
    rows_at: np.ndarray
    rows: np.ndarray
    position: np.ndarray
    is_constant: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    bad: dict[int, str]

    def __len__(self) -> int:
        return len(self.num_frames)

    def selected(self, utterance: int, start: int, stop: int) -> np.ndarray | None:
        """Rows of the matrix that are the selected frames `[start, stop)`, or None where they follow one another."""
        at = int(self.rows_at[utterance])
        return None if at < 0 else self.rows[at + start : at + stop]


def describe_index(data: Path, use_vad: bool) -> dict[str, Any]:
    """What the index of a data directory depends on: the tables of features and decisions, and their archives."""
    names = INDICES if use_vad else ("feats.scp",)
    return {"command": "sv-index-features", "format": FORMAT, "use_vad": use_vad, "tables": digest_of(tables_digest(data, names))}


def index_part(index: FeatureIndex, utterances: range, use_vad: bool, tick: Callable[[int], object] = lambda done: None) -> TrainingIndex:
    """The index of a part of the utterances; `tick(1)` is called after each.

    Reads every matrix once and checks it: see `FeatureIndex.read_at`.
    """
    count, dim = len(utterances), index.dim
    found = TrainingIndex(
        **{name: np.zeros(count, dtype) for name, dtype in SCALARS.items()},
        **{name: np.zeros((count, dim), dtype) for name, dtype in PER_BAND.items()},
        rows=np.zeros(0, np.int32),
        bad={},
    )
    gaps: list[np.ndarray] = []
    num_gaps = 0
    for place, utterance in enumerate(utterances):
        try:
            features, is_voiced = index.read_at(utterance)
        except (DataError, ArchiveError) as error:
            found.bad[place] = str(error)
            found.rows_at[place] = found.position[place] = -1
            continue
        rows = np.flatnonzero(is_voiced) if use_vad and is_voiced is not None else np.arange(len(features))
        selected = features[rows]
        found.num_frames[place] = len(rows)
        found.first_row[place] = rows[0] if len(rows) else 0
        found.position[place] = index.plain_at(utterance)
        has_gaps = len(rows) > 0 and rows[-1] - rows[0] + 1 != len(rows)
        found.rows_at[place] = num_gaps if has_gaps else -1
        if has_gaps:
            gaps.append(rows.astype(np.int32))
            num_gaps += len(rows)
        if len(rows):
            found.is_constant[place] = np.ptp(selected) < CONSTANT
            found.mean[place] = selected.mean(axis=0, dtype=np.float64)
            found.deviation[place] = selected.std(axis=0, dtype=np.float64)
        tick(1)
    return joined([TrainingIndex(**{**vars(found), "rows": np.concatenate(gaps) if gaps else found.rows})])


def joined(parts: list[TrainingIndex]) -> TrainingIndex:
    """Parts of an index, one after the other."""
    if len(parts) == 1:
        return parts[0]
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in (*SCALARS, *PER_BAND, "rows")}
    first_row = np.cumsum([0, *(len(part.rows) for part in parts)])
    first = np.cumsum([0, *(len(part) for part in parts)])
    for part, own, at in zip(parts, first, first_row):
        place = slice(int(own), int(own) + len(part))
        arrays["rows_at"][place] = np.where(part.rows_at < 0, -1, part.rows_at + at)
    bad = {int(own) + place: reason for part, own in zip(parts, first) for place, reason in part.bad.items()}
    return TrainingIndex(**arrays, bad=bad)


def refuse_too_many(index: FeatureIndex, bad: dict[int, str], max_bad: int) -> None:
    """Stop where more than `max_bad` utterances cannot be read.

    Raises:
        TooManyBadError: with the first reasons.
    """
    if len(bad) > max_bad:
        first = "; ".join(list(bad.values())[:3])
        raise TooManyBadError(f"{plain(index.path)}: {len(bad)} utterances cannot be read (--max-bad {max_bad}): {first}")
