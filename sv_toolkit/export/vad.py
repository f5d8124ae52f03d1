"""Voice activity by energy as ONNX operators, as in `features.vad`; WebRTC's detector is a program, not a formula."""

from __future__ import annotations

import numpy as np

from sv_toolkit.export.front_end import Frames, log_energy
from sv_toolkit.export.graph import Value
from sv_toolkit.features.fbank import EPSILON, FbankConfig
from sv_toolkit.features.vad import SMOOTHING, EnergyVadConfig, VadConfig


def voiced_frames(frames: Frames, features: Value, fbank_config: FbankConfig, config: VadConfig) -> Value:
    """Which frames the energy detector takes for speech, `(num_frames,)` bool."""
    from_features = config.energy.source == "features"
    energy = _stored_energy(features, fbank_config) if from_features else log_energy(frames, fbank_config)
    energy = energy.cast(np.float64)
    is_voiced = _energy_vad(energy, config.energy)
    if config.min_frames:
        is_voiced = _at_least(is_voiced, energy, config)
    return _span(is_voiced) if config.keep == "span" else is_voiced


def _stored_energy(features: Value, config: FbankConfig) -> Value:
    """`(num_frames,)` as `features.vad.stored_energy`."""
    if config.energy_column is not None:
        return features.take(features.graph.constant(np.int64(config.energy_column)), axis=1)
    logarithms = features if config.use_log_fbank else features.op("Max", EPSILON).op("Log")
    return logarithms.op("ReduceLogSumExp", axes=[1], keepdims=0)


def _energy_vad(energy: Value, config: EnergyVadConfig) -> Value:
    """Kaldi's rule: enough loud frames among the neighbours."""
    num_frames = energy.size(0)
    is_loud = energy > _threshold(energy, config)
    frame = energy.graph.arange(num_frames)
    start = (frame - config.frames_context).op("Max", 0)
    stop = (frame + (config.frames_context + 1)).op("Min", num_frames)
    running = _running_sum(is_loud.cast(np.int64))
    votes = running.take(stop) - running.take(start)
    return votes.cast(np.float64) >= (stop - start).cast(np.float64) * config.proportion_threshold


def _threshold(energy: Value, config: EnergyVadConfig) -> Value:
    if config.energy_threshold_below_max is None:
        return energy.mean(0) * config.energy_mean_scale + config.energy_threshold
    width = energy.size(0).op("Min", 2 * SMOOTHING + 1)
    loudest = _run_sums(energy, width).op("ReduceMax", axes=[0], keepdims=0) / width.cast(np.float64)
    return (loudest - config.energy_threshold_below_max).op("Max", config.energy_threshold)


def _at_least(is_voiced: Value, energy: Value, config: VadConfig) -> Value:
    """The loudest run of `min_frames` frames where fewer are voiced and any is loud."""
    count = energy.size(0).op("Min", config.min_frames)
    frame, start = energy.graph.arange(energy.size(0)), _run_sums(energy, count).op("ArgMax", axis=0, keepdims=0, dtype=np.int64)
    run = (frame >= start) & (frame < start + count)
    too_few = is_voiced.cast(np.int64).sum(0) < config.min_frames
    is_loud = energy.op("ReduceMax", axes=[0], keepdims=0) > config.energy.energy_threshold
    return (too_few & is_loud).where(run.cast(np.int32), is_voiced.cast(np.int32)) > 0


def _span(is_voiced: Value) -> Value:
    """Everything between the first and the last voiced frame."""
    numbers = is_voiced.cast(np.int32)
    first = numbers.op("ArgMax", axis=0, keepdims=0, dtype=np.int64)
    last = numbers.op("ArgMax", axis=0, keepdims=0, select_last_index=1, dtype=np.int64)
    frame = is_voiced.graph.arange(is_voiced.size(0))
    return (frame >= first) & (last >= frame) & (numbers.op("ReduceMax", axes=[0], keepdims=0) > 0)


def _running_sum(values: Value) -> Value:
    """`(num_values + 1,)`: 0, the first, the first two, ..."""
    graph = values.graph
    padded = graph.concat([graph.constant(np.zeros(1, values.dtype)), values], axis=0)
    return graph.op("CumSum", padded, graph.constant(np.int64(0)))


def _run_sums(values: Value, width: Value) -> Value:
    """Sums of all runs of `width` neighbouring values."""
    running = _running_sum(values)
    starts = values.graph.arange(values.size(0) - width + 1)
    return running.take(starts + width) - running.take(starts)
