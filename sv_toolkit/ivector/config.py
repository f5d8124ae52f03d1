"""Options of i-vector systems as frozen dataclasses, read from conf/ivector.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from sv_toolkit.config import Count, OneOf, Options, Size, Within, build, read_config, with_overrides
from sv_toolkit.errors import ConfigError, plain

NORMALIZATIONS = ("none", "level", "utterance", "sliding")
COVARIANCES = ("full", "diagonal")


@dataclass(frozen=True)
class FrameConfig(Options):
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

    delta_order: Count = 2
    delta_window: Size = 2
    cmvn: Annotated[str, OneOf(NORMALIZATIONS)] = "sliding"
    cmvn_window: Size = 300
    cmvn_center: bool = True
    cmvn_variance: bool = False
    use_vad: bool = True
    shortest: Size = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cmvn_variance and self.cmvn not in ("utterance", "sliding"):
            raise ConfigError(f"cmvn_variance needs cmvn utterance or sliding, got {self.cmvn!r}")


@dataclass(frozen=True)
class UbmConfig(Options):
    """The universal background model: diagonal Gaussians by splitting and EM, then, where asked for, full covariances.

    Attributes:
        split_iterations: EM iterations after every doubling of the number of Gaussians ...
        diagonal_iterations: ... and at the full number.
        covariance: "full", or "diagonal": the Gaussians stay as these iterations leave them.  Given posteriors make such Gaussians, too.
        full_iterations: those with full covariances, where `covariance` is full; 0 leaves the diagonals that it starts with.
        subsample: only every so many frames are used to train it.
        variance_floor: lower bound of variances, as a part of the variance of all frames.
        num_selected: Gaussians, the best by their diagonals, that may align a frame.
        min_posterior: smaller posteriors become 0, and the others of the frame are scaled up to make up for them.
        seed: of the directions in which Gaussians are split.
    """

    num_components: Size = 64
    split_iterations: Size = 3
    diagonal_iterations: Size = 8
    covariance: Annotated[str, OneOf(COVARIANCES)] = "full"
    full_iterations: Count = 4
    subsample: Size = 1
    variance_floor: Annotated[float, Within(0, 1, open_low=True, open_high=True)] = 0.01
    num_selected: Size = 20
    min_posterior: Annotated[float, Within(0, 0.5, open_high=True)] = 0.025
    seed: Count = 0


@dataclass(frozen=True)
class TotalVariabilityConfig(Options):
    """The total variability matrix.

    Attributes:
        ivector_dim: dimension of the i-vectors.
        num_iterations: of EM.
        minimum_divergence: after every iteration, make the i-vectors of the training data standard normal on average.
        seed: of the matrix that EM starts with.
    """

    ivector_dim: Size = 100
    num_iterations: Size = 10
    minimum_divergence: bool = True
    seed: Count = 0


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
    return build(IvectorConfig, with_overrides(read_config(path), overrides, plain(path)), plain(path))
