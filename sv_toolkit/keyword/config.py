"""Options of a keyword detector and of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from sv_toolkit.config import Count, Options, Positive, Share, Within, build, read_config, with_overrides
from sv_toolkit.errors import ConfigError, plain
from sv_toolkit.features.fbank_config import FbankConfig

Several = Annotated[int, Within(1, 10_000)]


@dataclass(frozen=True)
class DetectorConfig(Options):
    """What a detector sees, how large it is, and what makes a detection of its posteriors.  Frames are those of the features.

    Attributes:
        left, right: frames of context to either side; the network sees left + 1 + right at once.
        hidden: units of each of the three hidden layers.
        states: parts of equal standing that a word is cut into; the paper has one for each word of a phrase.
        smoothing: frames that a posterior is averaged over, w_smooth of the paper.
        window: frames that confidence looks back over, w_max of the paper.
        separation: frames within which only the most confident detection of a word counts.
        floor: confidence under which nothing is a detection.
        segment: seconds of the segment around a detection; 800 ms in GE2E section 3.
    """

    left: Count = 30
    right: Count = 10
    hidden: Several = 128
    states: Annotated[int, Within(1, 20)] = 1
    smoothing: Several = 30
    window: Several = 100
    separation: Several = 60
    floor: Share = 0.1
    segment: Positive = 0.8


@dataclass(frozen=True)
class TrainingConfig(Options):
    """How a detector is trained.

    Attributes:
        rounds: passes; before each but the first the words are aligned again and hard background is looked for.
        steps: of the optimizer in each round.
        batch: frames in a step; half of them are background.
        learning_rate: of Adam, falling to zero along a cosine in every round.
        noise: share of the frames that noise is added to ...
        snr_low, snr_high: ... between these ratios, dB.
        speeds: further copies of the keyword recordings, sped up by these factors.
        hard: share of the background frames in a batch that are among the hardest ...
        pool: ... which are this share of all background.
    """

    rounds: Annotated[int, Within(1, 20)] = 3
    steps: Several = 2000
    batch: Annotated[int, Within(8, 100_000)] = 512
    learning_rate: Positive = 0.001
    dropout: Annotated[float, Within(0, 0.9)] = 0.1
    noise: Share = 0.5
    snr_low: float = 0.0
    snr_high: float = 25.0
    speeds: tuple[float, ...] = (0.9, 1.1)
    hard: Share = 0.5
    pool: Annotated[float, Within(0, 1, open_low=True)] = 0.03

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.snr_low > self.snr_high:
            raise ConfigError(f"snr_low must not exceed snr_high, got {self.snr_low} and {self.snr_high} dB")
        if any(not 0.5 <= speed <= 2 for speed in self.speeds):
            raise ConfigError(f"speeds must lie between 0.5 and 2, got {list(self.speeds)}")


@dataclass(frozen=True)
class KeywordConfig:
    """The tables [fbank], [detector] and [training] of a configuration file."""

    fbank: FbankConfig = field(default_factory=FbankConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if not self.fbank.snip_edges or self.fbank.dither or self.fbank.use_energy or not self.fbank.use_log_fbank:
            raise ConfigError("[fbank] of a keyword detector needs snip_edges, log energies of bands alone, and no dither")


def read_keyword_config(path: Path | None, overrides: Mapping[str, Any]) -> KeywordConfig:
    """The configuration in a TOML or JSON file, or the defaults, with `section.key` values in their places.

    Raises:
        ConfigError: names file, table and key.
    """
    tables = read_config(path) if path is not None else {}
    where = plain(path) if path is not None else "options"
    return build(KeywordConfig, with_overrides(tables, overrides, where), where)
