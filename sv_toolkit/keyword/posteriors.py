"""From filter banks to posteriors: frames stacked with their context, and the network, in numpy (Chen, Parada, Heigold 2014, 2.1-2.2).

The network sees `left + 1 + right` frames.  Their mean over time and bands is subtracted first, so that the level of a
recording does not matter and nothing of a recording's later part is needed: a stream sees what a file shows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

NUM_LAYERS = 4  # three hidden layers and the output


def with_context(features: np.ndarray, left: int, right: int) -> np.ndarray:
    """`(num_frames + left + right, num_bands)`: the first and the last frame are repeated beyond the ends."""
    if len(features) == 0:
        return features
    return np.concatenate([np.repeat(features[:1], left, 0), features, np.repeat(features[-1:], right, 0)])


def stacked(extended: np.ndarray, width: int) -> np.ndarray:
    """Every `width` neighbouring frames in one row, without their mean.

    Args:
        extended: `(num_frames + width - 1, num_bands)`.

    Returns:
        `(num_frames, width * num_bands)`, frame after frame.
    """
    if len(extended) < width:
        return np.zeros((0, width * extended.shape[1]), extended.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(extended, width, axis=0)  # (num_frames, num_bands, width)
    rows = windows.transpose(0, 2, 1).reshape(len(windows), -1)
    return rows - rows.mean(axis=1, keepdims=True)


def forward(rows: np.ndarray, weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """Posteriors of filler and states, `(num_frames, num_outputs)`.

    Args:
        rows: `(num_frames, width * num_bands)` of `stacked`.
        weights: `mean`, `scale` of the inputs; `weight0`, `bias0` to `weight3`, `bias3`.
    """
    values = (rows - weights["mean"]) * weights["scale"]
    for layer in range(NUM_LAYERS):
        values = values @ weights[f"weight{layer}"].T + weights[f"bias{layer}"]
        if layer < NUM_LAYERS - 1:
            values = np.maximum(values, 0)
    values = np.exp(values - values.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)
