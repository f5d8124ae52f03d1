"""From stored features to network input: the one chain that training, inference and export share.

The chain is: sliding-window normalisation (over all frames, as Kaldi recipes do), selection of the voiced
frames, then the normalisation that is measured on the voiced frames, then a fixed scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from sv_toolkit.config import OneOf, Options, Positive, Size
from sv_toolkit.features.cmvn import sliding_cmvn

NORMALIZATIONS = ("none", "level", "utterance", "sliding")
MEASURED = ("level", "utterance")  # those that follow from mean and deviation of the selected frames
SMALLEST_DEVIATION = 1e-5  # of features that never change


@dataclass(frozen=True)
class InputConfig(Options):
    """How stored features become network input; it travels with the model.

    Attributes:
        cmvn: "none"; "level" subtracts one number, the mean over all voiced frames and bins, so that the gain of
            the microphone cannot matter; "utterance" subtracts the mean of every bin; "sliding" is Kaldi's
            apply-cmvn-sliding over `cmvn_window` frames.
        cmvn_window: frames of the sliding window.
        cmvn_center: the window lies around the frame; otherwise it ends there.
        cmvn_variance: also divide by the deviation, of every bin ("utterance", "sliding") or of all together ("level").
        use_vad: keep only the frames that vad.scp marks as voiced.
        scale: multiplies the result; log-mel energies spread over several nats, networks learn best near 1.
    """

    cmvn: Annotated[str, OneOf(NORMALIZATIONS)] = "level"
    cmvn_window: Size = 300
    cmvn_center: bool = True
    cmvn_variance: bool = False
    use_vad: bool = True
    scale: Positive = 0.25


def select_frames(features: np.ndarray, is_voiced: np.ndarray | None, config: InputConfig) -> np.ndarray:
    """The frames `(num_voiced, dim)` that the network may see, sliding normalisation applied."""
    if config.cmvn == "sliding":
        features = sliding_cmvn(features, window=config.cmvn_window, center=config.cmvn_center, variance=config.cmvn_variance)
    if config.use_vad and is_voiced is not None:
        features = features[is_voiced]
    return features


def offset_and_gain(frames: np.ndarray, config: InputConfig) -> tuple[np.ndarray, np.ndarray]:
    """What `normalize` subtracts and then multiplies by, each `(dim,)` float32, measured on the selected frames."""
    if len(frames) == 0 or config.cmvn not in MEASURED:
        none = np.zeros((1, frames.shape[1]))
        offset, gain = normalization(none, none, replace(config, cmvn="none"))
    else:
        mean = frames.mean(axis=0, dtype=np.float64)
        deviation = frames.std(axis=0, dtype=np.float64) if config.cmvn_variance else mean
        offset, gain = normalization(mean[None], deviation[None], config)
    return offset[0], gain[0]


def normalization(mean: np.ndarray, deviation: np.ndarray, config: InputConfig) -> tuple[np.ndarray, np.ndarray]:
    """What `normalize` subtracts and then multiplies by, for many utterances at once.

    Args:
        mean, deviation: `(num_utterances, dim)` of the selected frames of each.

    Returns:
        Offset and gain, each `(num_utterances, dim)` float32.
    """
    mean, deviation = mean.astype(np.float64), deviation.astype(np.float64)
    offset, gain = np.zeros(mean.shape), np.full(mean.shape, config.scale)
    if config.cmvn == "level":
        offset[:] = mean.mean(axis=1, keepdims=True)
        deviation = np.sqrt((deviation**2 + (mean - offset) ** 2).mean(axis=1, keepdims=True))  # of all numbers together
    if config.cmvn == "utterance":
        offset[:] = mean
    if config.cmvn in MEASURED and config.cmvn_variance:
        gain /= np.maximum(deviation, SMALLEST_DEVIATION)
    return offset.astype(np.float32), gain.astype(np.float32)


def normalize(frames: np.ndarray, offset: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """`(frames - offset) * gain`, float32."""
    return (frames - offset) * gain


def prepare(features: np.ndarray, is_voiced: np.ndarray | None, config: InputConfig) -> np.ndarray:
    """Network input `(num_voiced, dim)` float32 of one utterance.

    Args:
        features: `(num_frames, dim)` as stored in feats.scp.
        is_voiced: `(num_frames,)` bool, or None to keep every frame.
    """
    frames = select_frames(features, is_voiced, config)
    return normalize(frames, *offset_and_gain(frames, config)).astype(np.float32, copy=False)
