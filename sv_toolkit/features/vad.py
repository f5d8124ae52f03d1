"""Voice activity: which frames hold speech, by their energy or by WebRTC's detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from functools import cached_property, lru_cache
from types import ModuleType
from typing import Annotated, Any, Literal

import numpy as np

from sv_toolkit.config import Count, OneOf, Options, Positive, Weight, Within
from sv_toolkit.errors import ConfigError, SvError
from sv_toolkit.features.fbank import EPSILON, SAMPLE_SCALE, FbankConfig, log_energy
from sv_toolkit.features.registry import FEATURES, VADS, FeatureConfig, feature_name

SOURCES = ("waveform", "features")
KEEPS = ("voiced", "span")
WEBRTC_RATES = (8000, 16000, 32000, 48000)
FRAMING = ("sample_rate", "frame_length", "frame_shift", "snip_edges", "remove_dc_offset")  # what decisions are about
SMOOTHING = 2  # frames to either side over which the loudest place of an utterance is averaged


@dataclass(frozen=True)
class EnergyVadConfig(Options):
    """Kaldi's compute-vad on the logarithm of the frame energy (natural logarithm, 16-bit samples).

    Attributes:
        source: "waveform" takes the energy of the samples; "features" that of the stored features, which needs no
            audio but other thresholds (see `frame_log_energy`).
        energy_threshold: a frame is loud when its log energy exceeds this ...
        energy_mean_scale: ... plus this times the mean log energy of the utterance.
        energy_threshold_below_max: a level that follows the recording instead: loud is what exceeds both
            `energy_threshold` and the utterance's loudest place (a mean over 5 frames) minus this; 6.9 is 30 dB.
        frames_context: frames to either side that vote ...
        proportion_threshold: ... and the share of loud ones among them that makes a frame voiced.
    """

    source: Annotated[str, OneOf(SOURCES)] = "waveform"
    energy_threshold: float = 5.5
    energy_mean_scale: Weight = 0.5
    energy_threshold_below_max: Positive | None = None
    frames_context: Count = 2
    proportion_threshold: Annotated[float, Within(0, 1, open_low=True)] = 0.6


@dataclass(frozen=True)
class WebrtcVadConfig(Options):
    """WebRTC's detector.  It judges blocks of 10, 20 or 30 ms at 8, 16, 32 or 48 kHz and calls white noise speech.

    Attributes:
        mode: 0 (keeps most) to 3 (cuts most).
        frame_ms: milliseconds in a block.
        hangover: feature frames by which every voiced run is lengthened at both ends.
    """

    mode: Literal[0, 1, 2, 3] = 2
    frame_ms: Literal[10, 20, 30] = 10
    hangover: Count = 0


@dataclass(frozen=True)
class VadConfig(Options):
    """Which detector, its options, and what becomes of its decisions.

    Attributes:
        kind: "webrtc", "energy", or another name in `VADS`; `vad_class` gives the class with the options of that one.
        keep: "voiced" keeps the voiced frames; "span" everything from the first of them to the last.
        min_frames: where fewer frames are voiced, the loudest run of this many is kept instead (all, if there are
            fewer); an utterance without any loud frame still has no speech.  0: never.
    """

    kind: Annotated[str, OneOf(VADS)] = "webrtc"
    keep: Annotated[str, OneOf(KEEPS)] = "voiced"
    min_frames: Count = 0
    energy: EnergyVadConfig = field(default_factory=EnergyVadConfig)
    webrtc: WebrtcVadConfig = field(default_factory=WebrtcVadConfig)

    @property
    def options(self) -> Any:
        """Those of the detector that is used."""
        return getattr(self, self.kind)

    @property
    def needs_audio(self) -> bool:
        """False where decisions are made from stored features."""
        return getattr(self.options, "source", "waveform") != "features"

    def __reduce__(self) -> Any:
        """For processes that are given the options: classes that `vad_class` makes are in no module."""
        return _remade, (self.kind, {field.name: getattr(self, field.name) for field in fields(self)})


def vad_class(table: Any) -> type[VadConfig]:
    """The class that holds the table [vad]: `VadConfig`, with one more field for the options of a detector that it does not know."""
    kind = table.get("kind") if isinstance(table, Mapping) else None
    return _class_of(kind) if isinstance(kind, str) and kind in VADS else VadConfig


@lru_cache
def _class_of(kind: str) -> type[VadConfig]:
    if kind in {known.name for known in fields(VadConfig)}:
        return VadConfig
    options = VADS[kind].config
    return make_dataclass("VadConfig", [(kind, options, field(default_factory=options))], bases=(VadConfig,), frozen=True)


def _remade(kind: str, values: dict[str, Any]) -> VadConfig:
    return _class_of(kind)(**values)


@dataclass(frozen=True)
class Sound:
    """What a detector decides about: the waveform, or the stored features of it.

    Attributes:
        config: how the waveform is, or was, cut into frames.
        samples: `(num_samples,)` in [-1, 1); None where there are features alone.
        features: `(num_frames, dim)`; None where they are not needed.
    """

    config: FeatureConfig
    samples: np.ndarray | None = None
    features: np.ndarray | None = None

    @cached_property
    def framing(self) -> FbankConfig:
        """The frames as a configuration that counts them."""
        return framing_of(self.config)

    @cached_property
    def num_frames(self) -> int:
        """Frames to decide about."""
        return len(self.features) if self.samples is None and self.features is not None else self.framing.num_frames(len(self.waveform))

    @property
    def waveform(self) -> np.ndarray:
        """The samples, for a detector that cannot do without."""
        if self.samples is None:
            raise ValueError("this detector decides from the waveform")
        return self.samples

    @cached_property
    def energy(self) -> np.ndarray:
        """Log energy `(num_frames,)` float32, of the samples or else of the features."""
        if self.samples is not None:
            return log_energy(self.samples, self.framing)
        assert self.features is not None
        return stored_energy(self.features, self.config)


def framing_of(config: FeatureConfig) -> FbankConfig:
    """A filter bank with the frames of `config`, whatever features it is of."""
    if isinstance(config, FbankConfig):
        return config
    return FbankConfig(**{name: getattr(config, name) for name in FRAMING})


def energy_activity(sound: Sound, options: EnergyVadConfig) -> np.ndarray:
    """The detector "energy"."""
    return energy_vad(sound.energy, options)


def webrtc_activity(sound: Sound, options: WebrtcVadConfig) -> np.ndarray:
    """The detector "webrtc"."""
    return webrtc_vad(sound.waveform, sound.config.sample_rate, sound.num_frames, sound.framing, options)


def decisions(sound: Sound, config: VadConfig) -> np.ndarray:
    """Voiced frames `(num_frames,)` bool by the detector of `config`, with `min_frames` and `keep`."""
    is_voiced = VADS[config.kind].decide(sound, config.options)
    return finish(is_voiced, sound.energy if config.min_frames else np.zeros(len(is_voiced)), config)


def voice_activity(samples: np.ndarray, config: FeatureConfig, vad: VadConfig) -> np.ndarray:
    """Voiced frames of a waveform, for the frames of the features that are made of it with `config`.

    Args:
        samples: `(num_samples,)` in [-1, 1), at `config.sample_rate`.

    Returns:
        `(num_frames,)` bool.
    """
    if vad.needs_audio:
        return decisions(Sound(config, samples), vad)
    return decisions(Sound(config, features=FEATURES[feature_name(config)].compute(samples, config, None)), vad)


def finish(is_voiced: np.ndarray, energy: np.ndarray, config: VadConfig) -> np.ndarray:
    """Apply `min_frames` and `keep` to the decisions `(num_frames,)` of a detector; `energy` finds the loudest run."""
    if is_voiced.sum() < config.min_frames and len(energy) and energy.max() > config.energy.energy_threshold:
        is_voiced = loudest_run(energy, config.min_frames)
    return span(is_voiced) if config.keep == "span" else is_voiced


def energy_vad(energy: np.ndarray, config: EnergyVadConfig) -> np.ndarray:
    """Voiced frames by energy: Kaldi's compute-vad.

    A frame is loud when its log energy exceeds energy_threshold + energy_mean_scale * mean; it is voiced when at least
    `proportion_threshold` of the frames within `frames_context` of it (fewer at the ends) are loud.

    Args:
        energy: `(num_frames,)` log energies, from `log_energy` or `frame_log_energy`.

    Returns:
        `(num_frames,)` bool.
    """
    num_frames = len(energy)
    if num_frames == 0:
        return np.zeros(0, dtype=bool)
    energy = energy.astype(np.float64)
    is_loud = energy > _threshold(energy, config)
    frame = np.arange(num_frames)
    start, stop = np.maximum(frame - config.frames_context, 0), np.minimum(frame + config.frames_context + 1, num_frames)
    running = np.concatenate([[0], np.cumsum(is_loud)])
    return running[stop] - running[start] >= config.proportion_threshold * (stop - start)


def _threshold(energy: np.ndarray, config: EnergyVadConfig) -> float:
    if config.energy_threshold_below_max is None:
        return config.energy_threshold + config.energy_mean_scale * energy.mean()
    width = min(2 * SMOOTHING + 1, len(energy))
    loudest = np.convolve(energy, np.full(width, 1 / width), mode="valid").max()
    return max(config.energy_threshold, loudest - config.energy_threshold_below_max)


def frame_log_energy(features: np.ndarray) -> np.ndarray:
    """Log energy of every frame from stored log-mel features: log of the sum over the mel bins.

    It is larger than the energy of the samples by a few nats that depend on window and transform, and it leans
    towards high frequencies where preemphasis was on; thresholds do not carry over from one to the other.

    Args:
        features: `(num_frames, num_mel_bins)` natural logarithms.

    Returns:
        `(num_frames,)` float32.
    """
    highest = features.max(axis=1, keepdims=True)
    return (highest[:, 0] + np.log(np.exp(features - highest).sum(axis=1))).astype(np.float32)


def stored_energy(features: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Log energy `(num_frames,)` of features made with `config`: their energy column, or else the sum of the mel bins."""
    if config.energy_column is not None:
        return features[:, config.energy_column]
    if not isinstance(config, FbankConfig):
        raise ConfigError(f"the features {feature_name(config)} have no energy to decide by; use source waveform")
    return frame_log_energy(features if config.use_log_fbank else np.log(np.maximum(features, EPSILON)))


def webrtc_vad(samples: np.ndarray, sample_rate: int, num_frames: int, fbank_config: FbankConfig, config: WebrtcVadConfig) -> np.ndarray:
    """Voiced frames by WebRTC's detector.

    Every utterance gets a new detector, because it adapts to what it has heard.  A feature frame takes the decision of
    the block that its centre lies in (the last whole block, where the centre lies in the rest of the waveform); then
    every voiced run grows by `hangover` frames at both ends.

    Args:
        samples: `(num_samples,)` in [-1, 1); what lies outside is clipped.
        num_frames: feature frames to decide about.

    Returns:
        `(num_frames,)` bool; False throughout where the waveform is shorter than one block.

    Raises:
        ConfigError: the detector does not know the sample rate.
        SvError: webrtcvad is not installed.
    """
    decisions = _webrtc_blocks(samples, sample_rate, config)
    if len(decisions) == 0:
        return np.zeros(num_frames, dtype=bool)
    width = fbank_config.length_samples if fbank_config.snip_edges else fbank_config.shift_samples
    center = np.arange(num_frames) * fbank_config.shift_samples + width // 2
    block = np.minimum(center // (sample_rate * config.frame_ms // 1000), len(decisions) - 1)
    return dilated(decisions[block], config.hangover)


def _webrtc_blocks(samples: np.ndarray, sample_rate: int, config: WebrtcVadConfig) -> np.ndarray:
    """Decision for every whole block `(num_blocks,)` bool."""
    # The detector takes 16-bit integers, and a float beyond them would wrap round to the other sign.
    pcm = np.clip(np.rint(np.asarray(samples) * SAMPLE_SCALE), -32768, 32767).astype("<i2")
    return block_decisions(pcm, sample_rate, config.frame_ms, config.mode)


def block_decisions(pcm: np.ndarray, sample_rate: int, frame_ms: int, mode: int) -> np.ndarray:
    """What a new WebRTC detector says of every whole block of `frame_ms` milliseconds, `(num_blocks,)` bool.

    Args:
        pcm: `(num_samples,)` 16-bit integers, little-endian.

    Raises:
        ConfigError: the detector does not know the sample rate.
        SvError: webrtcvad is not installed.
    """
    webrtcvad = import_webrtcvad()
    if sample_rate not in WEBRTC_RATES:
        rates = ", ".join(str(rate) for rate in WEBRTC_RATES)
        raise ConfigError(f"webrtc decides at {rates} Hz, not at {sample_rate} Hz; resample, or use kind energy")
    data, size = pcm.tobytes(), 2 * (sample_rate * frame_ms // 1000)
    detector = webrtcvad.Vad(mode)
    return np.array(
        [detector.is_speech(data[start : start + size], sample_rate) for start in range(0, len(data) - size + 1, size)], dtype=bool
    )


def import_webrtcvad() -> ModuleType:
    """The module `webrtcvad`.

    Raises:
        SvError: it cannot be imported; says which package carries it.
    """
    try:
        import webrtcvad
    except ImportError as error:
        raise SvError(
            f"webrtcvad cannot be imported ({error}); 'pip uninstall webrtcvad' and 'pip install webrtcvad-wheels', or use --kind energy"
        ) from None
    return webrtcvad


def dilated(is_voiced: np.ndarray, num_frames: int) -> np.ndarray:
    """Every voiced run `num_frames` longer at both ends, `(num_frames,)` bool."""
    if num_frames == 0 or len(is_voiced) == 0:
        return is_voiced
    running = np.concatenate([[0], np.cumsum(is_voiced)])
    frame = np.arange(len(is_voiced))
    return running[np.minimum(frame + num_frames + 1, len(is_voiced))] > running[np.maximum(frame - num_frames, 0)]


def span(is_voiced: np.ndarray) -> np.ndarray:
    """Everything between the first and the last voiced frame, `(num_frames,)` bool."""
    voiced = np.flatnonzero(is_voiced)
    kept = np.zeros(len(is_voiced), dtype=bool)
    if len(voiced):
        kept[voiced[0] : voiced[-1] + 1] = True
    return kept


def loudest_run(energy: np.ndarray, num_frames: int) -> np.ndarray:
    """The run of `num_frames` frames with the highest mean log energy, as `(len(energy),)` bool."""
    num_frames = min(num_frames, len(energy))
    running = np.concatenate([[0.0], np.cumsum(energy, dtype=np.float64)])
    start = int(np.argmax(running[num_frames:] - running[:-num_frames]))
    kept = np.zeros(len(energy), dtype=bool)
    kept[start : start + num_frames] = True
    return kept
