"""Which utterances make a batch: a pure function of the seed and the step, so that a resumed run draws the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sv_toolkit.errors import DataError
from sv_toolkit.training.config import BatchConfig
from sv_toolkit.training.examples import Examples


@dataclass(frozen=True)
class Draw:
    """Utterances of a batch.

    Attributes:
        places: `(num_rows, num_columns)` utterances; a row is a speaker, or a tuple.
        speakers: `(num_rows, num_columns)` places of their speakers in `Examples.speakers`.
        starts: `(num_rows * num_columns,)` first frame of each crop, in the same order.
        num_frames: length of all crops; a shorter utterance is repeated.
    """

    places: np.ndarray
    speakers: np.ndarray
    starts: np.ndarray
    num_frames: int


def draw_batch(examples: Examples, config: BatchConfig, rng: np.random.Generator) -> Draw:
    """A batch as the sampler draws it; one crop length for all, every start equally likely."""
    speakers, places = SAMPLERS[config.sampler](examples, config, rng)
    refuse_wrong_rows(speakers, config.sampler)
    length = draw_length(config, rng)
    return Draw(places, speakers, random_starts(examples.num_frames[places.ravel()], length, rng), length)


def refuse_wrong_rows(speakers: np.ndarray, sampler: str) -> None:
    """Stop where rows are not what a loss is defined for: it would train, and wrongly.

    A speaker in two rows would be its own negative, and a row of two speakers their common centroid.

    Args:
        speakers: `(num_rows, num_columns)`.

    Raises:
        ValueError: a fault of the sampler.
    """
    if sampler == "speakers" and not (speakers == speakers[:, :1]).all():
        raise ValueError("a row of the batch holds more than one speaker")
    if sampler == "speakers" and len(np.unique(speakers[:, 0])) < len(speakers):
        raise ValueError("a speaker stands in two rows of the batch")
    if sampler == "tuples" and not (speakers[:, 1:] == speakers[:, 1:2]).all():
        raise ValueError("the enrollment utterances of a tuple are of more than one speaker")


def draw_length(config: BatchConfig, rng: np.random.Generator) -> int:
    """A crop length on the grid, all equally likely."""
    return config.lengths[int(rng.integers(len(config.lengths)))]


def random_starts(num_frames: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """First frames of crops of `length` frames; 0 where an utterance has no more than that."""
    return rng.integers(0, np.maximum(num_frames - length, 0), endpoint=True)


def by_speakers(examples: Examples, config: BatchConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """N speakers and M utterances of each, without replacement (Wan et al. 2018, section 2.1)."""
    speakers = rng.choice(len(examples.speakers), config.num_speakers, replace=False)
    choose = _across_sessions if config.across_sessions else _utterances_of
    return np.repeat(speakers[:, None], config.num_utterances, axis=1), choose(examples, speakers, config.num_utterances, rng)


def by_tuples(examples: Examples, config: BatchConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """N tuples of one evaluation and M - 1 enrollment utterances, positive and negative in turn (Wan et al. 2018, section 1.2).

    The enrollment speakers differ from tuple to tuple; the evaluation speaker of a negative tuple is any other one.
    """
    speakers, places = by_speakers(examples, config, rng)
    negative = slice(1, None, 2)
    own = speakers[negative, 0]
    speakers[negative, 0] = (own + rng.integers(1, len(examples.speakers), len(own))) % len(examples.speakers)
    places[negative, :1] = _utterances_of(examples, speakers[negative, 0], 1, rng)
    return speakers, places


def by_utterances(examples: Examples, config: BatchConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """N x M utterances, each equally likely whoever spoke it, without replacement: for losses that compare labels alone."""
    places = rng.choice(len(examples), config.num_speakers * config.num_utterances, replace=False)
    places = places.reshape(config.num_speakers, config.num_utterances)
    return np.searchsorted(examples.usable.ends, places, side="right") - 1, places


SAMPLERS: dict[str, Callable[[Examples, BatchConfig, np.random.Generator], tuple[np.ndarray, np.ndarray]]] = {
    "speakers": by_speakers,
    "tuples": by_tuples,
    "utterances": by_utterances,
}


def _utterances_of(examples: Examples, speakers: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`(len(speakers), count)` places of utterances of each speaker, without replacement."""
    first, end = examples.usable.ends[speakers], examples.usable.ends[speakers + 1]
    return first[:, None] + distinct_numbers(end - first, count, rng)


def _across_sessions(examples: Examples, speakers: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`(len(speakers), count)` places of utterances of each speaker, without replacement: one of every session before a second of any."""
    first, lengths = examples.usable.ends[speakers], examples.usable.ends[speakers + 1] - examples.usable.ends[speakers]
    starts = np.cumsum(lengths) - lengths
    row = np.repeat(np.arange(len(speakers)), lengths)
    places = np.arange(lengths.sum()) + np.repeat(first - starts, lengths)
    session = examples.sessions[places]
    order = np.lexsort((rng.random(len(places)), session, row))
    begins = np.flatnonzero(np.diff(row[order], prepend=-1).astype(bool) | np.diff(session[order], prepend=-1).astype(bool))
    turn = np.empty(len(places), np.int64)  # 0 for the first drawn of its session, 1 for the second, ...
    turn[order] = np.arange(len(places)) - np.repeat(begins, np.diff(begins, append=len(places)))
    order = np.lexsort((rng.random(len(places)), turn, row))
    return places[order[starts[:, None] + np.arange(count)]]


def distinct_numbers(totals: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`(len(totals), count)`: per row `count` different numbers below `totals[row]`, every ordered choice equally likely.

    The j-th number is drawn among those that are left: a number below `total - j`, moved up by one for every earlier one that
    is not above it.
    """
    chosen = np.empty((len(totals), count), np.int64)
    ascending = np.empty((len(totals), 0), np.int64)
    for j in range(count):
        number = rng.integers(0, totals - j)
        for earlier in ascending.T:
            number += number >= earlier
        chosen[:, j] = number
        ascending = np.sort(np.column_stack([ascending, number]), axis=1)
    return chosen


def least_utterances(config: BatchConfig) -> int:
    """Usable utterances that a speaker needs to take part."""
    return 1 if config.sampler == "utterances" else config.num_utterances


def refuse_small(examples: Examples, config: BatchConfig, needs_speakers: int, needs_utterances: int) -> None:
    """Stop where a batch cannot be drawn.

    Raises:
        DataError: names what there is, what is needed, and the option.
    """
    if config.num_utterances < needs_utterances:
        raise DataError(
            f"the loss compares utterances of a speaker: num_utterances must be at least {needs_utterances}, got {config.num_utterances}"
        )
    if config.num_speakers < needs_speakers:
        raise DataError(
            f"the loss compares speakers: num_speakers must be at least {needs_speakers}, got {config.num_speakers} (--speakers-per-batch)"
        )
    if len(examples.speakers) < needs_speakers:
        raise DataError(
            f"the loss compares speakers: at least {needs_speakers} are needed, the data has {len(examples.speakers)} with "
            f"{least_utterances(config)} usable utterances each; lower num_utterances (--set batch.num_utterances=...) or the crops "
            "(--window-frames), or leave out --config: then both fit the data"
        )
    total = len(examples)
    if config.sampler == "utterances" and total < config.num_speakers * config.num_utterances:
        raise DataError(
            f"a batch needs {config.num_speakers} x {config.num_utterances} utterances, the data has {total} usable ones; "
            "lower num_speakers (--speakers-per-batch) or num_utterances in [batch]"
        )
    if config.sampler != "utterances" and len(examples.speakers) < config.num_speakers:
        raise DataError(
            f"a batch needs {config.num_speakers} speakers with at least {config.num_utterances} usable utterances each, the data has {len(examples.speakers)}; "
            "lower num_speakers (--speakers-per-batch) or num_utterances in [batch]"
        )
