"""Layers of the networks as ONNX operators, in evaluation mode.

The counterparts of `models.pooling`, `models.normalization` and `models.layers`; frames are the last dimension,
as in a convolution.  A mask is boolean `(batch, num_frames)`, or None where every frame counts.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from sv_toolkit.export.graph import Value
from sv_toolkit.models.normalization import SPREAD, MaskedBatchNorm
from sv_toolkit.models.pooling import FLOOR, AttentiveStatistics


def array(tensor: Tensor) -> np.ndarray:
    """Weights in double precision: what is computed from them here is rounded once."""
    return tensor.detach().cpu().double().numpy()


def frame_mask(lengths: Value | None, num_frames: Value) -> Value | None:
    """True for the frames that count, `(batch, num_frames)`."""
    return None if lengths is None else lengths.graph.arange(num_frames) < lengths.expand_dims(1)


def strided(lengths: Value | None, stride: int) -> Value | None:
    """Frames left by a stride."""
    return None if lengths is None else (lengths + (stride - 1)) / stride


def without_padding(x: Value, mask: Value | None, ndim: int) -> Value:
    """`x` of `ndim` dimensions with zeros where no frame counts."""
    return x if mask is None else mask.expand_dims(*range(1, ndim - 1)).where(x, 0.0)


def normalization(norm: MaskedBatchNorm) -> tuple[np.ndarray, np.ndarray]:
    """Factor and summand `(num_features,)` of a trained batch normalisation."""
    scale = array(norm.weight) / np.sqrt(array(norm.running_var) + SPREAD)
    return scale, array(norm.bias) - scale * array(norm.running_mean)


def convolution(x: Value, weight: np.ndarray, bias: np.ndarray | None, stride: int = 1, dilation: int = 1) -> Value:
    """Over all dimensions after the channels, with as many zeros around as keep the frames where they are."""
    ndim = weight.ndim - 2
    pads = [dilation * (kernel // 2) for kernel in weight.shape[2:]]
    parts = [weight] if bias is None else [weight, bias]
    return x.op("Conv", *parts, strides=[stride] * ndim, dilations=[dilation] * ndim, pads=[*pads, *pads])


def linear(x: Value, layer: nn.Linear) -> Value:
    """`(..., in_features)` to `(..., out_features)`."""
    product = x @ array(layer.weight).T
    return product if layer.bias is None else product + array(layer.bias)


def linear_over_frames(x: Value, layer: nn.Linear) -> Value:
    """`(batch, in_features, num_frames)` to `(batch, out_features, num_frames)`."""
    return convolution(x, array(layer.weight)[:, :, None], array(layer.bias))


def mean_over_time(x: Value, mask: Value | None) -> Value:
    """`(batch, channels, num_frames)` to the `(batch, channels)` mean of the counted frames."""
    if mask is None:
        return x.mean(2)
    return without_padding(x, mask, 3).sum(2) / mask.cast(np.float32).sum(1, keepdims=True)


def statistics_over_time(x: Value, mask: Value | None, weights: Value | None = None) -> Value:
    """Mean and standard deviation `(batch, 2 * channels)` of `(batch, channels, num_frames)`."""
    x = without_padding(x, mask, 3) if weights is not None else x
    mean = mean_over_time(x, mask) if weights is None else (weights * x).sum(2)
    deviations = x - mean.expand_dims(2)
    squares = deviations * deviations
    variance = mean_over_time(squares, mask) if weights is None else (weights * squares).sum(2)
    return x.graph.concat([mean, variance.op("Max", FLOOR).op("Sqrt")], axis=1)


def attentive_statistics(x: Value, mask: Value | None, layer: AttentiveStatistics) -> Value:
    """Desplanques et al. 2020, Eqs. 1 to 3: `(batch, 2 * channels)` of `(batch, channels, num_frames)`."""
    hidden = linear_over_frames(x, layer.frame)
    if layer.utterance is not None:
        hidden = hidden + linear(statistics_over_time(x, mask), layer.utterance).expand_dims(2)
    scores = linear_over_frames(hidden.op("Tanh"), layer.weight)
    scores = scores if mask is None else mask.expand_dims(1).where(scores, -np.inf)
    return statistics_over_time(x, mask, scores.op("Softmax", axis=2))


def last_frame(x: Value, lengths: Value | None) -> Value:
    """`(num_frames, batch, dim)` to the `(batch, dim)` of the last counted frame."""
    if lengths is None:
        return x.take(x.graph.constant(np.int64(-1)))
    return x.transpose(1, 0, 2).op("GatherND", (lengths - 1).expand_dims(1), batch_dims=1)


def unit_length(x: Value, axis: int = -1) -> Value:
    """Rows of length one."""
    return x / x.op("ReduceL2", axes=[axis], keepdims=1).op("Max", 1e-12)
