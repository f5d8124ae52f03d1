"""From filter banks to posteriors: frames stacked with their context, and the network, in numpy (Chen, Parada, Heigold 2014, 2.1-2.2).

The network sees `left + 1 + right` frames.  Their mean over time and bands is subtracted first, so that the level of a
recording does not matter and nothing of a recording's later part is needed: a stream sees what a file shows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sv_toolkit.features.stacking import neighbours

NUM_LAYERS = 4  # three hidden layers and the output


def stacked(extended: np.ndarray, width: int) -> np.ndarray:
    """Every `width` neighbouring frames in one row, without their mean.

    Args:
        extended: `(num_frames + width - 1, num_bands)`.

    Returns:
        `(num_frames, width * num_bands)`, frame after frame.
    """
    rows = neighbours(extended, width)
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
