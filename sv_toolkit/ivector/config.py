"""Options of i-vector systems as frozen dataclasses, read from conf/ivector.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sv_toolkit.config import build, read_config, require_range
from sv_toolkit.errors import ConfigError, plain, shown

NORMALIZATIONS = ("none", "level", "utterance", "sliding")


@dataclass(frozen=True)
class FrameConfig:
    """From stored cepstra to the frames that Gaussians see; it travels with the model.

    The chain is Kaldi's: deltas, sliding normalisation over all frames, selection of the voiced ones.

    Attributes:
        delta_order, delta_window: as `add_deltas`; order 0: none.
        cmvn: "none"; "level" subtracts the mean over the voiced frames from the first column, the energy or zeroth
            coefficient, so that the gain cannot matter; "utterance" subtracts it from every column; "sliding" is
            Kaldi's apply-cmvn-sliding over `cmvn_window` frames.
        cmvn_variance: also divide by the deviation ("utterance" and "sliding").
        use_vad: keep only the frames that vad.scp marks as voiced.
        shortest: utterances with fewer such frames are skipped.
    """

    delta_order: int = 2
    delta_window: int = 2
    cmvn: str = "sliding"
    cmvn_window: int = 300
    cmvn_center: bool = True
    cmvn_variance: bool = False
    use_vad: bool = True
    shortest: int = 10

    def __post_init__(self) -> None:
        if self.cmvn not in NORMALIZATIONS:
            raise ConfigError(f"cmvn must be one of {', '.join(NORMALIZATIONS)}, got {self.cmvn!r}")
        if self.cmvn_variance and self.cmvn not in ("utterance", "sliding"):
            raise ConfigError(f"cmvn_variance needs cmvn utterance or sliding, got {self.cmvn!r}")
        require_range("delta_order", self.delta_order, 0)
        for name in ("delta_window", "cmvn_window", "shortest"):
            require_range(name, getattr(self, name), 1)


@dataclass(frozen=True)
class UbmConfig:
    """The universal background model: diagonal Gaussians by splitting and EM, then full covariances.

    Attributes:
        split_iterations: EM iterations after every doubling of the number of Gaussians ...
        diagonal_iterations: ... and at the full number; then those with full covariances (0: they stay diagonal).
        subsample: only every so many frames are used to train it.
        variance_floor: lower bound of variances, as a part of the variance of all frames.
        num_selected: Gaussians, the best by their diagonals, whose full likelihood is computed for a frame.
        min_posterior: smaller posteriors become 0, and the others of the frame are scaled up to make up for them.
        seed: of the directions in which Gaussians are split.
    """

    num_components: int = 64
    split_iterations: int = 3
    diagonal_iterations: int = 8
    full_iterations: int = 4
    subsample: int = 1
    variance_floor: float = 0.01
    num_selected: int = 20
    min_posterior: float = 0.025
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_components", "split_iterations", "diagonal_iterations", "subsample", "num_selected"):
            require_range(name, getattr(self, name), 1)
        require_range("full_iterations", self.full_iterations, 0)
        require_range("seed", self.seed, 0)
        if not 0 < self.variance_floor < 1:
            raise ConfigError(f"variance_floor must lie in (0, 1), got {self.variance_floor}")
        if not 0 <= self.min_posterior < 0.5:
            raise ConfigError(f"min_posterior must lie in [0, 0.5), got {self.min_posterior}")


@dataclass(frozen=True)
class TotalVariabilityConfig:
    """The total variability matrix.

    Attributes:
        ivector_dim: dimension of the i-vectors.
        num_iterations: of EM.
        minimum_divergence: after every iteration, make the i-vectors of the training data standard normal on average.
        seed: of the matrix that EM starts with.
    """

    ivector_dim: int = 100
    num_iterations: int = 10
    minimum_divergence: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        require_range("ivector_dim", self.ivector_dim, 1)
        require_range("num_iterations", self.num_iterations, 1)
        require_range("seed", self.seed, 0)


@dataclass(frozen=True)
class IvectorConfig:
    """Everything that decides about an i-vector system."""

    frames: FrameConfig = field(default_factory=FrameConfig)
    ubm: UbmConfig = field(default_factory=UbmConfig)
    total_variability: TotalVariabilityConfig = field(default_factory=TotalVariabilityConfig)


def read_ivector_config(path: Path, overrides: Mapping[str, Any]) -> IvectorConfig:
    """The configuration in a TOML or JSON file, with `section.key` values in their places.

    Raises:
        ConfigError: names file, table and key.
    """
    tables = read_config(path)
    for key, value in overrides.items():
        section, _, name = key.partition(".")
        table = tables.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{plain(path)}: {shown(section)} needs a table")
        table[name] = value
    return build(IvectorConfig, tables, plain(path))
