"""Which types of features and which voice activity detectors there are.  Adding one is a file and a line here.

Entries name their module, so that --help and tables of data directories know the names without importing numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol


class FeatureConfig(Protocol):
    """What the options of a feature type must have: a frozen dataclass whose fields JSON can hold, with at least these.

    Attributes:
        sample_rate: hertz.
        frame_length, frame_shift: seconds.
        snip_edges: only frames inside the waveform, as Kaldi counts them; otherwise one frame for each shift.
        remove_dc_offset: of each frame; voice activity by energy does likewise.
        dither: standard deviation of noise that is added to the waveform; 0 for none.
    """

    @property
    def sample_rate(self) -> int: ...  # noqa: D102
    @property
    def frame_length(self) -> float: ...  # noqa: D102
    @property
    def frame_shift(self) -> float: ...  # noqa: D102
    @property
    def snip_edges(self) -> bool: ...  # noqa: D102
    @property
    def remove_dc_offset(self) -> bool: ...  # noqa: D102
    @property
    def dither(self) -> float: ...  # noqa: D102

    @property
    def dim(self) -> int:
        """Columns of the features."""

    @property
    def energy_column(self) -> int | None:
        """The column that follows the level of the recording; None where there is none."""


@dataclass(frozen=True)
class Feature:
    """A type of features.

    Attributes:
        module: where these are:
        config_name: the class of the options, a `FeatureConfig` ...
        function: ... and `(samples (num_samples,) in [-1, 1), config, generator of the dither or None) -> (num_frames, dim) float32`.
        command: what extracts them.
        has_powers: the columns are logarithms of powers in mel bands; noise and rooms can be added to such alone.
        has_graph: `sv-export` can write them.
    """

    module: str
    config_name: str
    function: str
    command: str = "sv-extract-features"
    has_powers: bool = False
    has_graph: bool = False

    @property
    def config(self) -> type[Any]:
        """The class of the options."""
        return getattr(import_module(self.module), self.config_name)

    @property
    def compute(self) -> Callable[..., Any]:
        """The function that makes them."""
        return getattr(import_module(self.module), self.function)


@dataclass(frozen=True)
class Vad:
    """A voice activity detector.

    Attributes:
        module: where these are:
        config_name: the class of the options, a frozen dataclass that is the table [vad.NAME]; with a field `source` that can be
            "features" it also decides about stored features without the recordings ...
        function: ... and `(sound, options) -> (num_frames,) bool`; `sound` is a `features.vad.Sound`.
        has_graph: `sv-export` can write it.
    """

    module: str
    config_name: str
    function: str
    has_graph: bool = False

    @property
    def config(self) -> type[Any]:
        """The class of the options."""
        return getattr(import_module(self.module), self.config_name)

    @property
    def decide(self) -> Callable[..., Any]:
        """The function that decides."""
        return getattr(import_module(self.module), self.function)


FEATURES: dict[str, Feature] = {  # by the name of the manifest beside feats.scp, and of the table in a configuration file
    "fbank": Feature("sv_toolkit.features.fbank", "FbankConfig", "fbank", "sv-extract-fbank", has_powers=True, has_graph=True),
    "mfcc": Feature("sv_toolkit.features.mfcc", "MfccConfig", "mfcc", "sv-extract-mfcc", has_graph=True),
    "mel": Feature("sv_toolkit.features.mel_spectrogram", "MelSpectrogramConfig", "mel_spectrogram"),
}
VADS: dict[str, Vad] = {  # by the `kind` of the table [vad]
    "webrtc": Vad("sv_toolkit.features.vad", "WebrtcVadConfig", "webrtc_activity"),
    "energy": Vad("sv_toolkit.features.vad", "EnergyVadConfig", "energy_activity", has_graph=True),
}


def feature_commands() -> set[str]:
    """The commands that write feats.scp and utt2num_frames."""
    return {feature.command for feature in FEATURES.values()}


def feature_name(config: Any) -> str:
    """The name of the features that `config` holds the options of.

    Raises:
        ValueError: of none.
    """
    for name, feature in FEATURES.items():
        if type(config) is feature.config:
            return name
    raise ValueError(f"{type(config).__name__} is the configuration of no known features")


def without_powers(kinds: Container[str]) -> str | None:
    """The first of the features `kinds` whose columns are no powers in mel bands; None where there is none."""
    return next((name for name, feature in FEATURES.items() if name in kinds and not feature.has_powers), None)
