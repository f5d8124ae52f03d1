"""Which utterances make a batch: a pure function of the seed and the step, so that a resumed run draws the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sv_toolkit.errors import DataError
from sv_toolkit.training.config import BatchConfig
from sv_toolkit.training.examples import Examples

Row = list[tuple[int, str]]


@dataclass(frozen=True)
class Draw:
    """Utterances of a batch.

    Attributes:
        utterances: ids `[row][column]`; a row is a speaker, or a tuple.
        speakers: `(num_rows, num_columns)` places of their speakers in `Examples.speakers`.
        crops: first frame and end of each, in the same order.
    """

    utterances: list[list[str]]
    speakers: np.ndarray
    crops: list[list[tuple[int, int]]]


def draw_batch(examples: Examples, config: BatchConfig, seed: int | list[int], step: int) -> Draw:
    """A batch as the sampler draws it; one crop length for all, every start equally likely."""
    rng = np.random.default_rng([*np.atleast_1d(seed), step])
    rows = SAMPLERS[config.sampler](examples, config, rng)
    length = int(rng.integers(config.min_frames, config.max_frames + 1))
    return Draw(
        utterances=[[utterance for _, utterance in row] for row in rows],
        speakers=np.array([[speaker for speaker, _ in row] for row in rows]),
        crops=[[random_crop(examples.num_frames[utterance], length, rng) for _, utterance in row] for row in rows],
    )


def by_speakers(examples: Examples, config: BatchConfig, rng: np.random.Generator) -> list[Row]:
    """N speakers and M utterances of each, without replacement (Wan et al. 2018, section 2.1)."""
    speakers = rng.choice(len(examples.speakers), config.num_speakers, replace=False)
    return [_utterances_of(examples, int(speaker), config.num_utterances, rng) for speaker in speakers]


def by_tuples(examples: Examples, config: BatchConfig, rng: np.random.Generator) -> list[Row]:
    """N tuples of one evaluation and M - 1 enrollment utterances, positive and negative in turn (Wan et al. 2018, section 1.2).

    The enrollment speakers differ from tuple to tuple; the evaluation speaker of a negative tuple is any other one.
    """
    tuples = []
    for place, speaker in enumerate(rng.choice(len(examples.speakers), config.num_speakers, replace=False)):
        row = _utterances_of(examples, int(speaker), config.num_utterances, rng)
        if place % 2:
            other = (int(speaker) + int(rng.integers(1, len(examples.speakers)))) % len(examples.speakers)
            row[0] = _utterances_of(examples, other, 1, rng)[0]
        tuples.append(row)
    return tuples


def by_utterances(examples: Examples, config: BatchConfig, rng: np.random.Generator) -> list[Row]:
    """N x M utterances, each equally likely whoever spoke it, without replacement: for losses that look at labels alone."""
    ends = np.cumsum([len(own) for own in examples.by_speaker])
    places = rng.choice(int(ends[-1]), config.num_speakers * config.num_utterances, replace=False)
    speakers = np.searchsorted(ends, places, side="right")
    chosen = [(int(speaker), examples.by_speaker[speaker][int(place - ends[speaker])]) for speaker, place in zip(speakers, places)]
    return [chosen[start : start + config.num_utterances] for start in range(0, len(chosen), config.num_utterances)]


SAMPLERS: dict[str, Callable[[Examples, BatchConfig, np.random.Generator], list[Row]]] = {
    "speakers": by_speakers,
    "tuples": by_tuples,
    "utterances": by_utterances,
}


def _utterances_of(examples: Examples, speaker: int, count: int, rng: np.random.Generator) -> Row:
    own = examples.by_speaker[speaker]
    return [(speaker, own[i]) for i in rng.choice(len(own), count, replace=False)]


def random_crop(num_frames: int, length: int, rng: np.random.Generator) -> tuple[int, int]:
    """First frame and end of a crop of `length` frames; all frames where there are fewer."""
    if num_frames <= length:
        return 0, num_frames
    start = int(rng.integers(num_frames - length + 1))
    return start, start + length


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
        raise DataError(f"the loss compares speakers: at least {needs_speakers} are needed, the data has {len(examples.speakers)}")
    total = sum(map(len, examples.by_speaker))
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
