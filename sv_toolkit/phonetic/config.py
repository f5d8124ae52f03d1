"""Options of frame classifiers as a frozen dataclass, read from conf/phones.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from sv_toolkit.config import Count, Options, Positive, Size, Weight, Within, build, read_config
from sv_toolkit.errors import plain


@dataclass(frozen=True)
class PhoneConfig(Options):
    """A feed-forward network over stacked frames, and its training.

    Attributes:
        parts: every phone is so many classes, one for each equal part of its duration; silence is always one.
        silence: the phone of frames that no segment covers.
        left, right: frames of context on either side.
        hidden_size, num_layers: of the layers before the output.
        dropout: share of the hidden units that training leaves out.
        noise: deviation of the normal noise that training adds to the log energies, so that details of its voices do not matter.
        epochs: passes over the training data.
        batch_size: frames of a step; they come from `utterances_at_once` utterances, mixed.
        learning_rate: of AdamW, at its peak after a tenth of the steps; it falls to 0.
        label_smoothing: share of the target that all classes get alike.
        seed: of the weights, the order and the noise.
    """

    parts: Size = 1
    silence: str = "SIL"
    left: Count = 7
    right: Count = 7
    hidden_size: Size = 256
    num_layers: Size = 3
    dropout: Annotated[float, Within(0, 1, open_high=True)] = 0.1
    noise: Weight = 0.3
    epochs: Size = 6
    batch_size: Size = 256
    utterances_at_once: Size = 64
    learning_rate: Positive = 0.002
    label_smoothing: Annotated[float, Within(0, 1, open_high=True)] = 0.0
    seed: Count = 0


def read_phone_config(path: Path, overrides: Mapping[str, Any]) -> PhoneConfig:
    """The configuration in a TOML or JSON file, with the values of `overrides` in their places.

    Raises:
        ConfigError: names file and key.
    """
    return build(PhoneConfig, {**read_config(path), **overrides}, plain(path))
