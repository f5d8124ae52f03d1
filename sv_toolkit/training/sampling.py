"""Which utterances make a batch: a pure function of the seed and the step, so that a resumed run draws the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sv_toolkit.errors import DataError
from sv_toolkit.training.config import BatchConfig
from sv_toolkit.training.examples import Examples


@dataclass(frozen=True)
class Draw:
    """Utterance ids `[speaker][utterance]` of a batch, the places of their crops, and the generator for what follows."""

    utterances: list[list[str]]
    crops: list[list[tuple[int, int]]]
    rng: np.random.Generator


def draw_batch(examples: Examples, config: BatchConfig, seed: int, step: int) -> Draw:
    """N speakers and M utterances of each, without replacement; one crop length for all, every start equally likely."""
    rng = np.random.default_rng([seed, step])
    speakers = rng.choice(len(examples.speakers), config.num_speakers, replace=False)
    length = int(rng.integers(config.min_frames, config.max_frames + 1))
    utterances, crops = [], []
    for speaker in speakers:
        own = examples.by_speaker[speaker]
        chosen = [own[i] for i in rng.choice(len(own), config.num_utterances, replace=False)]
        utterances.append(chosen)
        crops.append([random_crop(examples.num_frames[utterance], length, rng) for utterance in chosen])
    return Draw(utterances, crops, rng)


def random_crop(num_frames: int, length: int, rng: np.random.Generator) -> tuple[int, int]:
    """First frame and end of a crop of `length` frames; all frames where there are fewer."""
    if num_frames <= length:
        return 0, num_frames
    start = int(rng.integers(num_frames - length + 1))
    return start, start + length


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
    if len(examples.speakers) < config.num_speakers:
        raise DataError(
            f"a batch needs {config.num_speakers} speakers with at least {config.num_utterances} usable utterances each, the data has {len(examples.speakers)}; "
            "lower num_speakers (--speakers-per-batch) or num_utterances in [batch]"
        )
