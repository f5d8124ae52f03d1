"""From features to the d-vector as ONNX operators: `features.prepare`, `embeddings.windows` and `embeddings.embed`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sv_toolkit.export.graph import Value
from sv_toolkit.export.layers import unit_length
from sv_toolkit.features.cmvn import VARIANCE_FLOOR
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.models.store import WindowConfig

BATCH = 64  # windows that pass the network together; memory does not grow with the length of the recording
MIN_WINDOW = 100  # of `sliding_cmvn`
LEAST_DEVIATION = 1e-5  # of `offset_and_gain`


def network_input(features: Value, is_voiced: Value | None, config: InputConfig) -> Value:
    """`(num_voiced, feature_dim)` as `features.prepare.prepare`, but never without a frame; sums are in double precision."""
    if config.cmvn == "sliding":
        features = _sliding(features, config)
    frames = features if is_voiced is None else _at_least_one_frame(features.op("Compress", is_voiced, axis=0))
    if config.cmvn not in ("level", "utterance"):
        return frames * config.scale
    exact = frames.cast(np.float64)
    axes = (0, 1) if config.cmvn == "level" else (0,)
    offset = exact.mean(*axes, keepdims=True)
    normalized = frames - offset.cast(np.float32)
    if not config.cmvn_variance:
        return normalized * config.scale
    deviations = exact - offset
    deviation = (deviations * deviations).mean(*axes, keepdims=True).op("Sqrt").op("Max", LEAST_DEVIATION)
    return normalized * (deviation.op("Reciprocal") * config.scale).cast(np.float32)


def _at_least_one_frame(inputs: Value) -> Value:
    """A frame of zeros where none is voiced: means and the network need something to work on."""
    graph = inputs.graph
    missing = inputs.size(0).op("Max", 1) - inputs.size(0)
    return graph.concat([inputs, graph.zeros(missing, inputs.size(1))], axis=0)


def _sliding(features: Value, config: InputConfig) -> Value:
    """As `features.cmvn.sliding_cmvn`."""
    start, stop = _sliding_windows(features.graph.arange(features.size(0)), features.size(0), config)
    exact = features.cast(np.float64)
    centered = exact - exact.mean(0, keepdims=True)
    count = (stop - start).cast(np.float64).expand_dims(1)
    mean = _window_sums(centered, start, stop) / count
    normalized = centered - mean
    if config.cmvn_variance:
        power = _window_sums(centered * centered, start, stop) / count - mean * mean
        gain = power.op("Max", VARIANCE_FLOOR).op("Sqrt").op("Reciprocal")
        normalized = (count > 1.0).where(normalized * gain, 0.0)
    return normalized.cast(np.float32)


def _sliding_windows(frame: Value, num_frames: Value, config: InputConfig) -> tuple[Value, Value]:
    """As `features.cmvn.sliding_windows`."""
    if config.cmvn_center:
        start = (frame - config.cmvn_window // 2).op("Max", 0)
        stop = start + config.cmvn_window
    else:
        start = (frame - config.cmvn_window).op("Max", 0)
        stop = (frame + 1).op("Max", MIN_WINDOW)
    beyond = (stop - num_frames).op("Max", 0)
    return (start - beyond).op("Max", 0), stop - beyond


def _window_sums(values: Value, start: Value, stop: Value) -> Value:
    graph = values.graph
    running = graph.op("CumSum", values, graph.constant(np.int64(0)))
    before = graph.concat([running.take(graph.constant(np.array([0], np.int64))) * 0.0, running], axis=0)
    return before.take(stop) - before.take(start)


def dvector(inputs: Value, embed: Callable[[Value], Value], dim: int, config: WindowConfig) -> Value:
    """`(dim,)` mean of the windows' embeddings, of unit length.

    Args:
        inputs: `(num_frames, feature_dim)`, at least one frame.
        embed: embeddings `(batch, dim)` of windows `(batch, window, feature_dim)`.
    """
    graph, num_frames = inputs.graph, inputs.size(0)
    window = num_frames.op("Min", config.window)
    last = num_frames - window
    starts = (graph.arange((last + (2 * config.shift - 1)) / config.shift) * config.shift).op("Min", last)
    num_windows = starts.size(0)

    def part(index: Value) -> Value:
        numbers = graph.arange((num_windows - index * BATCH).op("Min", BATCH)) + index * BATCH
        places = starts.take(numbers).expand_dims(1) + graph.arange(window)
        return embed(inputs.take(places)).sum(0)

    total = graph.total(part, (num_windows + (BATCH - 1)) / BATCH, graph.zeros(dim), [dim])
    return unit_length(total)
