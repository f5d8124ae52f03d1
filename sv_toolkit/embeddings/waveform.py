"""From a recording to its d-vector in one step, by the features, decisions, normalisation and windows of the model.

A waveform goes through what `sv-extract-fbank` (or `sv-extract-mfcc`), `sv-compute-vad` and `sv-extract-dvector` do with
the options that the model's training data was made with, and gives the same vector.  Features with dither are the
exception: their noise is drawn from one fixed generator here, and from one for each utterance id there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from sv_toolkit.config import build
from sv_toolkit.embeddings.embed import embed
from sv_toolkit.errors import AudioError, ModelError, plain
from sv_toolkit.features.prepare import prepare
from sv_toolkit.features.registry import FEATURES, FeatureConfig
from sv_toolkit.features.vad import Sound, VadConfig, decisions, vad_class
from sv_toolkit.io.audio import AudioRequest, Waveform, read_waveform
from sv_toolkit.io.files import sha256_bytes
from sv_toolkit.models.device import choose_device
from sv_toolkit.models.store import Description, load_model, model_digest

logger = logging.getLogger("sv_toolkit")
FULL_SCALE, CLIPPED_RUN, CLIPPED_SHARE = 0.9998, 3, 1e-3  # one sample at full scale is a peak, three in a row are a clipped one
DIGEST_DIGITS = 16
SHORT = 2  # times the least that a model takes: speech below is short


@dataclass(frozen=True)
class FrontEnd:
    """How waveforms become features and decisions for one model.

    Attributes:
        compute: of `FEATURES`.
        config: its options.
        vad: options of the voice activity detection; None where the model takes all frames.
    """

    compute: Callable[..., np.ndarray]
    config: FeatureConfig
    vad: VadConfig | None

    def features(self, samples: np.ndarray) -> np.ndarray:
        """Features `(num_frames, dim)` of `samples` `(num_samples,)`."""
        return self.compute(samples, self.config, np.random.default_rng(0) if self.config.dither else None)

    def voiced(self, samples: np.ndarray, features: np.ndarray) -> np.ndarray | None:
        """Which frames hold speech, `(num_frames,)` bool; None where the model takes all."""
        if self.vad is None:
            return None
        return decisions(Sound(self.config, samples) if self.vad.needs_audio else Sound(self.config, features=features), self.vad)


def front_end(description: Description, where: str) -> FrontEnd:
    """What the model's description says of its features.

    Raises:
        ModelError: it does not say it, as for features that another program made.
    """
    made = {name: description.features[name] for name in FEATURES if name in description.features}
    if len(made) != 1 or (description.input.use_vad and "vad" not in description.features):
        missing = "voice activity" if len(made) == 1 else "features"
        raise ModelError(
            f"{where}: does not say how its {missing} were made, so it cannot take recordings:"
            " extract features as for its training data, then sv-extract-dvector"
        )
    name = next(iter(made))
    config = build(FEATURES[name].config, made[name].get("config"), f"{where}: features.{name}")
    vad = None
    if description.input.use_vad:
        table = description.features["vad"].get("config")
        vad = build(vad_class(table), table, f"{where}: features.vad")
    if config.dim != description.feature_dim:
        raise ModelError(f"{where}: its features have {config.dim} columns, its network takes {description.feature_dim}")
    return FrontEnd(FEATURES[name].compute, config, vad)


@dataclass(frozen=True)
class Embedded:
    """The d-vector of one recording, and what it rests on.

    Attributes:
        vector: `(embedding_dim,)` float32 of unit length.
        duration: seconds of sound.
        num_frames: frames of features.
        num_voiced: frames that the network saw.
        digest: of the samples; the same sound has the same one.
        clipped: share of the samples that stand at full scale, three or more in a row.
    """

    vector: np.ndarray
    duration: float
    num_frames: int
    num_voiced: int
    digest: str
    clipped: float = 0.0


class Embedder:
    """A model that takes waveforms.

    Attributes:
        path: the model's folder.
        digest: what tells the model from every other.
        windows: sliding window, in frames.
        sample_rate: hertz that `embed` needs.
        seen: shortest and longest recording, seconds, that the calibration of the model was fitted on; None where it is not known.
    """

    seen: tuple[float, float] | None = None

    def __init__(self, path: Path | str, device: str = "auto") -> None:
        """Load the model in the folder `path`; `device` is one of `models.device.DEVICES`.

        Raises:
            ModelError: it is damaged, or does not say how its features were made.
        """
        self.path = Path(path)
        network, self.description = load_model(self.path)
        self.network: nn.Module = network.to(choose_device(device))
        self.digest = model_digest(self.path)
        self.windows = self.description.windows
        self.front_end = front_end(self.description, plain(self.path))
        self.sample_rate = self.front_end.config.sample_rate

    @property
    def frame_shift(self) -> float:
        """Seconds from frame to frame."""
        return self.front_end.config.frame_shift

    def embed(self, samples: np.ndarray) -> Embedded:
        """The d-vector of a waveform.

        Args:
            samples: `(num_samples,)` in [-1, 1), at `sample_rate`.

        Raises:
            AudioError: silence, no speech, or too little of it; the reason alone.
        """
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        features, inputs = self._inputs(samples)
        vector = embed(self.network, [inputs], self.windows)[0]
        if not np.isfinite(vector).all():
            raise AudioError("the network gives no finite vector for it")
        digest = sha256_bytes(samples.tobytes())[:DIGEST_DIGITS]
        return Embedded(vector, len(samples) / self.sample_rate, len(features), len(inputs), digest, clipped_share(samples))

    def _inputs(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features `(num_frames, dim)` and network input `(num_voiced, dim)`."""
        if samples.ndim != 1:
            raise ValueError(f"a waveform has one axis, got shape {samples.shape}")
        if not np.isfinite(samples).all():
            raise AudioError(f"{np.count_nonzero(~np.isfinite(samples))} samples are not finite (NaN or Inf)")
        features = self.front_end.features(samples)
        if len(features) == 0:
            raise AudioError(f"too short: {1000 * len(samples) / self.sample_rate:.1f} ms of sound, less than one frame")
        if samples.min() == samples.max():
            raise AudioError(f"silent: all {len(samples)} samples are {samples[0]:g}")
        is_voiced = self.front_end.voiced(samples, features)
        inputs = prepare(features, is_voiced, self.description.input)
        if len(inputs) == 0:
            raise AudioError(f"no speech found in {len(features) * self.frame_shift:.2f} s of sound")
        if len(inputs) < self.windows.shortest:
            found, needed = len(inputs) * self.frame_shift, self.windows.shortest * self.frame_shift
            raise AudioError(f"too short: {found:.2f} s of speech, at least {needed:.2f} s are needed")
        return features, inputs

    def embed_file(self, path: Path | str, channel: int | None = None, resample: bool = False) -> Embedded:
        """The d-vector of the recording at `path`, with warnings where it is short or clipped.

        Args:
            channel: which one, counted from 0; None demands that there is only one.
            resample: also convert a recording of a lower sample rate.

        Raises:
            AudioError: it cannot be read, or what `embed` refuses; names the file.
        """
        embedded = self.embed_request(AudioRequest(str(path), "", str(path), channel=channel, sample_rate=self.sample_rate), resample)
        for concern in self.concerns(embedded):
            logger.warning("%s: %s", plain(path), concern)
        return embedded

    def embed_request(self, request: AudioRequest, resample: bool = False) -> Embedded:
        """As `embed_file`, without its warnings, for part of a recording or one that a data directory describes.

        Args:
            resample: also convert recordings of a lower sample rate.
        """
        where = f"{request.where}: {plain(request.path)}" if request.where else plain(request.path)
        samples = read_samples(request, resample)
        try:
            return self.embed(samples)
        except AudioError as error:
            raise AudioError(f"{where}: {error}") from None

    def concerns(self, embedded: Embedded) -> list[str]:
        """What makes scores of the recording less sure."""
        found = []
        if self.seen is not None and embedded.duration < self.seen[0]:
            found.append(
                f"{embedded.duration:.2f} s of sound; the shortest recording that the calibration was fitted on has {self.seen[0]:.2f} s: "
                "its error rates do not speak of this one"
            )
        if self.seen is None and embedded.num_voiced < SHORT * self.windows.shortest:
            speech, least = embedded.num_voiced * self.frame_shift, self.windows.shortest * self.frame_shift
            found.append(f"{speech:.2f} s of speech, little more than the {least:.2f} s that the model needs: the score is less sure")
        if embedded.clipped > CLIPPED_SHARE:
            found.append(f"{100 * embedded.clipped:.1f} % of the samples are clipped: lower the gain of the microphone")
        return found


def read_samples(request: AudioRequest, resample: bool = False) -> np.ndarray:
    """The waveform at the model's rate; a higher rate is converted, a lower one only where `resample` says so.

    A recording of a lower rate lacks the upper part of the band that the model listens to, and every speaker lacks it alike.

    Raises:
        AudioError: it cannot be read, or its rate is too low.
    """
    waveform: Waveform = read_waveform(replace(request, resample=True))
    if waveform.recorded_rate < request.sample_rate:
        refuse_lower_rate(waveform.recorded_rate, request.sample_rate, plain(request.path), resample)
    elif waveform.recorded_rate > request.sample_rate and not request.where:  # of a data directory there would be a line for each
        logger.info("%s: converted from %d Hz to the model's %d Hz", plain(request.path), waveform.recorded_rate, request.sample_rate)
    return waveform.samples


def refuse_lower_rate(rate: int, needed: int, where: str, resample: bool) -> None:
    """Stop, or with `resample` warn, where a recording has less bandwidth than the model listens to.

    Raises:
        AudioError: names both rates.
    """
    if not resample:
        raise AudioError(
            f"{where}: sample rate is {rate} Hz, the model was trained at {needed} Hz;"
            " --resample converts it, though the upper part of the band stays empty"
        )
    logger.warning("%s: converted from %d Hz to the %d Hz of the model: the upper part of its band is empty", where, rate, needed)


def clipped_share(samples: np.ndarray) -> float:
    """Share of the samples `(num_samples,)` that stand at full scale, three or more in a row."""
    if len(samples) < CLIPPED_RUN:
        return 0.0
    runs = np.zeros(len(samples), dtype=bool)
    for sign in (1, -1):
        at_limit = sign * samples >= FULL_SCALE
        whole = np.all(np.lib.stride_tricks.sliding_window_view(at_limit, CLIPPED_RUN), axis=1)
        for offset in range(CLIPPED_RUN):
            runs[offset : offset + len(whole)] |= whole
    return float(runs.mean())
