"""A configuration that fits the data, for trainings without one: a pure function of what there is to learn from.

What each rule rests on: crops of a quarter of a second and a network of 128 cells were chosen on folds of 74 speakers (egs/an4/v1),
longer crops and 256 cells on 251 and more (egs/librispeech/v1, egs/general/v1).  With few speakers, long crops teach the sentences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sv_toolkit.errors import DataError

LARGEST_BATCH = (64, 10)  # speakers and utterances of each (Wan et al. 2018)
ALL_SPEAKERS = 16  # so many or fewer are in every batch; of more, half are
SHORT = 5.0  # percent of the utterances that may be shorter than a crop
FEW = 10.0  # percent of the speakers that may have fewer utterances than a batch takes of each ...
WORTH = 0.5  # ... unless so large a share of those utterances is enough to keep them all
SHORTEST_CROP = 10  # frames; utterances from here on take part, repeated until a crop is full
LONG_WINDOW = 1000  # frames, ten seconds: networks with pooling over time take utterances whole


@dataclass(frozen=True)
class Material:
    """What one data directory holds to learn from.

    Attributes:
        speaker: `(num_utterances,)` number of the speaker of each utterance.
        num_frames: `(num_utterances,)` frames of speech.
        is_log_mel: powers add in its features, so that bands can be taken away.
    """

    speaker: np.ndarray
    num_frames: np.ndarray
    is_log_mel: bool = True


@dataclass(frozen=True)
class Size:
    """Sizes for so many speakers: cells of the LSTM, lowest and highest length of a crop in frames, steps."""

    hidden_size: int
    crop: tuple[int, int]
    steps: int


SIZES = ((200, Size(128, (15, 25), 400)), (1000, Size(256, (40, 80), 1500)), (np.inf, Size(256, (60, 120), 4000)))
FROM_WEIGHTS = Size(0, (30, 60), 150)  # a model that knows voices already: fewer steps, each a small one


def fitting_tables(material: list[Material], start: dict[str, Any] | None = None) -> dict[str, Any]:
    """The tables of a configuration: network, input, loss, batch, windows, optimizer, schedule, augment, trainer.

    Args:
        material: of each source; a batch is drawn from every one, so the smallest decides about it.
        start: tables `network`, `input` and `windows` of the model whose weights are the start, None for fresh ones.

    Raises:
        DataError: fewer than two speakers, or none with two utterances.
    """
    total = sum(len(np.unique(own.speaker)) for own in material)
    size = FROM_WEIGHTS if start else next(size for limit, size in SIZES if total < limit)
    shortest_crop, longest_crop = zip(*(_crop(own, size.crop) for own in material))
    low, high = min(shortest_crop), min(longest_crop)
    shortest = max(min((low + high) // 2, *(_least(own) for own in material)), SHORTEST_CROP)
    batches = [_batch(own, shortest) for own in material]
    speakers, utterances = min(batch[0] for batch in batches), min(batch[1] for batch in batches)
    batch = {"num_speakers": speakers, "num_utterances": utterances, "min_frames": low, "max_frames": high, "shortest": shortest}
    return {
        "network": _network(size),
        "input": {"cmvn": "level", "cmvn_variance": True, "scale": 1.0},
        "loss": {"name": "ge2e", "method": "softmax"},
        "windows": {"window": LONG_WINDOW, "shift": LONG_WINDOW // 2, "shortest": shortest},
        **(start or {}),
        "batch": batch,
        "optimizer": {"name": "adamw", "learning_rate": 0.0002 if start else 0.003, "weight_decay": 0.01, "loss_factor": 1.0},
        "schedule": {"name": "cosine", "warmup_steps": min(50, size.steps // 8)},
        "augment": {"band_probability": 0.3} if all(own.is_log_mel for own in material) else {},
        "trainer": {"steps": size.steps, "log_interval": 50, "valid_interval": max(size.steps // 4, 1), "average": 0.98},
    }


def _network(size: Size) -> dict[str, Any]:
    return {
        "name": "lstm",
        "hidden_size": size.hidden_size,
        "projection_size": 0,
        "num_layers": 1,
        "embedding_dim": 128,
        "frame_dim": 256,
        "pooling": "statistics",
    }


def _crop(material: Material, wanted: tuple[int, int]) -> tuple[int, int]:
    """Lowest and highest length, in frames; nearly all utterances are longer than the highest."""
    there = int(np.percentile(material.num_frames, SHORT)) if len(material.num_frames) else 0
    high = max(min(wanted[1], there), SHORTEST_CROP)
    return max(min(wanted[0], high * wanted[0] // wanted[1]), 1), high


def _least(material: Material) -> int:
    """Frames of the shortest utterance that has any to speak of."""
    return int(min(material.num_frames[material.num_frames >= SHORTEST_CROP], default=SHORTEST_CROP))


def _batch(material: Material, shortest: int) -> tuple[int, int]:
    """Speakers and utterances of each, so that nearly every speaker can take part."""
    _, usable = np.unique(material.speaker[material.num_frames >= shortest], return_counts=True)
    usable = usable[usable >= 2]
    if len(usable) < 2:
        raise DataError(
            f"the loss compares speakers: two of them with two utterances of {shortest} frames of speech or more are needed, the data has "
            f"{len(usable)} such ({len(np.unique(material.speaker))} speakers, {len(material.speaker)} utterances)"
        )
    utterances = int(np.clip(np.percentile(usable, FEW), 2, LARGEST_BATCH[1]))
    if usable.min() >= WORTH * utterances:
        utterances = min(int(usable.min()), utterances)
    speakers = int((usable >= utterances).sum())
    return (speakers if speakers <= ALL_SPEAKERS else min(max(speakers // 2, ALL_SPEAKERS), LARGEST_BATCH[0])), utterances


def told(material: list[Material], tables: dict[str, Any]) -> str:
    """What was chosen, and for what, in a sentence."""
    lengths = np.concatenate([own.num_frames for own in material])
    counts = np.concatenate([np.unique(own.speaker, return_counts=True)[1] for own in material])
    batch, network = tables["batch"], tables["network"]
    size = next((f" of {network[key]}" for key in ("hidden_size", "channels") if key in network), "")
    return (
        f"chosen for {len(counts)} speakers with {np.median(counts):g} utterances of {np.median(lengths):.0f} frames of speech (medians): "
        f"{network['name']}{size}, batches of {batch['num_speakers']} x {batch['num_utterances']}, crops of {batch['min_frames']} to "
        f"{batch['max_frames']} frames, {tables['trainer']['steps']} steps"
    )
