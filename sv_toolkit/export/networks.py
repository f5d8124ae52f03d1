"""Every architecture as ONNX operators: the same formulas as the modules of `models`, which the tests hold them to.

A function takes features `(batch, num_frames, feature_dim)` and lengths `(batch,)` int64 or None, and gives what the
module's `raw` gives.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sv_toolkit.errors import ConfigError
from sv_toolkit.export.graph import Value
from sv_toolkit.export.layers import (
    array,
    attentive_statistics,
    convolution,
    frame_mask,
    last_frame,
    linear,
    linear_over_frames,
    mean_over_time,
    normalization,
    statistics_over_time,
    strided,
    unit_length,
    without_padding,
)
from sv_toolkit.models.ecapa_tdnn import EcapaTdnn, Res2Layer, SeRes2Block, SqueezeExcitation, TdnnLayer
from sv_toolkit.models.gru import Gru, GruLayer
from sv_toolkit.models.layers import CLIP, SequenceConv
from sv_toolkit.models.lstm import LstmDvector
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.rescnn import ResCnn
from sv_toolkit.models.resnet import BasicBlock, NormedConv, ResNet


def embeddings(architecture: str, network: SpeakerNetwork, features: Value, lengths: Value | None = None) -> Value:
    """Embeddings `(batch, embedding_dim)` of unit length.

    Raises:
        ConfigError: the architecture has no ONNX form.
    """
    if architecture not in NETWORKS:
        raise ConfigError(f"no ONNX form of the architecture {architecture!r}; known: {', '.join(sorted(NETWORKS))}")
    return unit_length(NETWORKS[architecture](network, features, lengths))


def lstm(network: LstmDvector, features: Value, lengths: Value | None) -> Value:
    """LSTM layers, perhaps a layer on frames, pooling, a linear layer."""
    x = features.transpose(1, 0, 2)
    layer = _projected_lstm if network.config.projection_size else _lstm
    for number in range(network.config.num_layers):
        x = layer(x, {name: array(getattr(network.lstm, f"{name}_l{number}")) for name in _lstm_weights(network)})
    if network.frame is not None:
        x = linear(x, network.frame).op("Relu")
    if network.config.pooling == "last":
        return linear(last_frame(x, lengths), network.linear)
    pooled = mean_over_time if network.config.pooling == "mean" else statistics_over_time
    return linear(pooled(x.transpose(1, 2, 0), frame_mask(lengths, features.size(1))), network.linear)


def _lstm_weights(network: LstmDvector) -> list[str]:
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    return [*names, "weight_hr"] if network.config.projection_size else names


def _gates_in_order(weights: np.ndarray, order: str) -> np.ndarray:
    """Rows of the input, forget, cell and output gate (torch's order, i f g o) in another order."""
    blocks = dict(zip("ifgo", np.split(weights, 4)))
    return np.concatenate([blocks[gate] for gate in order])


def _lstm(x: Value, weights: dict[str, np.ndarray]) -> Value:
    """A layer without projection, `(num_frames, batch, hidden_size)`: ONNX's own operator."""
    biases = np.concatenate([_gates_in_order(weights[name], "iofg") for name in ("bias_ih", "bias_hh")])
    parts = [_gates_in_order(weights[name], "iofg")[None] for name in ("weight_ih", "weight_hh")]
    hidden_size = weights["weight_hh"].shape[1]
    return x.op("LSTM", *parts, biases[None], hidden_size=hidden_size).op("Squeeze", x.graph.constant(np.array([1], np.int64)))


def _projected_lstm(x: Value, weights: dict[str, np.ndarray]) -> Value:
    """A layer with projection (Sak et al. 2014), `(num_frames, batch, projection_size)`, for which ONNX has no operator.

    The share of the inputs in all gates is one product for all frames; what remains in the loop over time are the
    recurrent product and the projection.  The three sigmoid gates lie side by side, so that one operator does them.
    """
    graph, order = x.graph, "ifog"
    recurrent, projection = _gates_in_order(weights["weight_hh"], order).T, weights["weight_hr"].T
    hidden, projected = projection.shape
    driven = x @ _gates_in_order(weights["weight_ih"], order).T + _gates_in_order(weights["bias_ih"] + weights["bias_hh"], order)
    shared = [graph.constant(part, np.float32) for part in (recurrent, projection)]

    def step(response: Value, cell: Value, inputs: Value) -> tuple[list[Value], Value]:
        sigmoids, candidate = graph.split(response @ shared[0] + inputs, [3 * hidden, hidden], axis=1)
        enter, forget, leave = graph.split(sigmoids.op("Sigmoid"), [hidden] * 3, axis=1)
        cell = forget * cell + enter * candidate.op("Tanh")
        response = (leave * cell.op("Tanh")) @ shared[1]
        return [response, cell], response

    batch = x.size(1)
    states = [graph.zeros(batch, projected), graph.zeros(batch, hidden)]
    sizes = (projected, hidden, 4 * hidden, projected)
    return graph.scan(step, states, driven, [["batch", size] for size in sizes])


def gru(network: Gru, features: Value, lengths: Value | None) -> Value:
    """A strided convolution, GRU layers, mean over time, a linear layer."""
    x, lengths = _sequence_conv(_image(features), lengths, network.reduction)
    x = _clipped_relu(x).transpose(3, 0, 1, 2).reshape(0, 0, -1)
    for layer in network.layers:
        x = _gru_layer(x, layer, ACTIVATIONS[network.config.activation])  # type: ignore[arg-type]
    return linear(mean_over_time(x.transpose(1, 2, 0), frame_mask(lengths, x.size(0))), network.affine)


def _gru_layer(x: Value, layer: GruLayer, activation: Callable[[Value], Value]) -> Value:
    """`(num_frames, batch, hidden_size)`; the formulas are in `models.gru`."""
    graph, hidden = x.graph, layer.hidden_size
    scale, shift = normalization(layer.norm)
    driven = x @ (scale[:, None] * array(layer.inputs.weight)).T + shift
    recurrence = graph.constant(array(layer.recurrence).T, np.float32)

    def step(state: Value, inputs: Value) -> tuple[list[Value], Value]:
        gates, candidate = graph.split(inputs, [2 * hidden, hidden], axis=1)
        own_gates, own_candidate = graph.split(state @ recurrence, [2 * hidden, hidden], axis=1)
        update, reset = graph.split((gates + own_gates).op("Sigmoid"), [hidden, hidden], axis=1)
        candidate = activation(candidate + reset * own_candidate)
        state = candidate + update * (state - candidate)
        return [state], state

    return graph.scan(step, [graph.zeros(x.size(1), hidden)], driven, [["batch", size] for size in (hidden, 3 * hidden, hidden)])


def _image(features: Value) -> Value:
    """`(batch, 1, bands, num_frames)`."""
    return features.transpose(0, 2, 1).expand_dims(1)


def _clipped_relu(x: Value) -> Value:
    return x.op("Clip", 0.0, CLIP)


def _tanh(x: Value) -> Value:
    return x.op("Tanh")


ACTIVATIONS: dict[str, Callable[[Value], Value]] = {"clipped_relu": _clipped_relu, "tanh": _tanh}


def _sequence_conv(x: Value, lengths: Value | None, layer: SequenceConv) -> tuple[Value, Value | None]:
    scale, shift = (part.reshape(layer.conv.out_channels, -1, 1) for part in normalization(layer.norm))
    x = without_padding(x, frame_mask(lengths, x.size(3)), 4)
    return convolution(x, array(layer.conv.weight), None, layer.stride) * scale + shift, strided(lengths, layer.stride)


def rescnn(network: ResCnn, features: Value, lengths: Value | None) -> Value:
    """Strided convolutions with residual blocks between them, mean over time, a linear layer."""
    x = _image(features)
    for reduction, blocks in zip(network.reductions, network.stages):
        x, lengths = _sequence_conv(x, lengths, reduction)  # type: ignore[arg-type]
        x = _clipped_relu(x)
        for block in blocks:  # type: ignore[attr-defined]
            inner = _clipped_relu(_sequence_conv(x, lengths, block.first)[0])
            x = _clipped_relu(_sequence_conv(inner, lengths, block.second)[0] + x)
    return linear(_mean_of_units(x, lengths, network.affine.in_features), network.affine)


def _mean_of_units(x: Value, lengths: Value | None, num_units: int) -> Value:
    units = x.reshape(0, num_units, -1)
    return mean_over_time(units, frame_mask(lengths, x.size(3)))


def resnet(network: ResNet, features: Value, lengths: Value | None) -> Value:
    """Convolution, residual stages, pooling, and where there is one a linear layer."""
    x = _leaky(_normed_conv(_image(features), lengths, network.enter), network.config.slope)
    for block in network.blocks:
        x, lengths = _basic_block(x, lengths, block)  # type: ignore[arg-type]
    mask = frame_mask(lengths, x.size(3))
    if network.config.pooling == "mean":
        pooled = mean_over_time(x.mean(2), mask)
    else:
        assert network.linear is not None
        pooled = statistics_over_time(x.reshape(0, network.linear.in_features // 2, -1), mask)
    return pooled if network.linear is None else linear(pooled, network.linear)


def _leaky(x: Value, slope: float) -> Value:
    return x.op("LeakyRelu", alpha=slope)


def _normed_conv(x: Value, lengths: Value | None, layer: NormedConv) -> Value:
    scale, shift = normalization(layer.norm)
    x = without_padding(x, frame_mask(lengths, x.size(3)), 4)
    return convolution(x, array(layer.conv.weight) * scale[:, None, None, None], shift, layer.stride)


def _basic_block(x: Value, lengths: Value | None, block: BasicBlock) -> tuple[Value, Value | None]:
    past = x if block.shortcut is None else _normed_conv(x, lengths, block.shortcut)
    inner = _leaky(_normed_conv(x, lengths, block.first), block.slope)
    lengths = strided(lengths, block.stride)
    return _leaky(_normed_conv(inner, lengths, block.second) + past, block.slope), lengths


def ecapa_tdnn(network: EcapaTdnn, features: Value, lengths: Value | None) -> Value:
    """TDNN layer, SE-Res2Blocks, all their outputs joined, attentive statistics, a linear layer."""
    total = _tdnn(features.transpose(0, 2, 1), frame_mask(lengths, features.size(1)), network.first)
    mask = frame_mask(strided(lengths, network.config.stride), total.size(2))
    outputs: list[Value] = []
    for block in network.blocks:
        outputs.append(_se_res2_block(total, mask, block) + total)  # type: ignore[arg-type]
        total = total + outputs[-1]
    joined = linear_over_frames(total.graph.concat(outputs, axis=1), network.join).op("Relu")
    scale, shift = normalization(network.pooling_norm)
    pooled = attentive_statistics(joined, mask, network.pooling) * scale + shift
    scale, shift = normalization(network.affine_norm)
    return linear(pooled, network.affine) * scale + shift


def _tdnn(x: Value, mask: Value | None, layer: TdnnLayer) -> Value:
    conv, (scale, shift) = layer.conv, normalization(layer.norm)
    assert conv.bias is not None
    x = without_padding(x, mask, 3) if conv.kernel_size[0] > 1 else x
    activated = convolution(x, array(conv.weight), array(conv.bias), conv.stride[0], conv.dilation[0]).op("Relu")
    return activated * scale[:, None] + shift[:, None]


def _res2(x: Value, mask: Value | None, layer: Res2Layer, num_channels: int) -> Value:
    pieces = x.graph.split(x, [layer.width] * (num_channels // layer.width), axis=1)
    outputs = pieces[: len(pieces) - len(layer.parts)]
    part: Value | None = None
    for piece, own in zip(pieces[len(outputs) :], layer.parts):
        part = _tdnn(piece if part is None else piece + part, mask, own)  # type: ignore[arg-type]
        outputs.append(part)
    return x.graph.concat(outputs, axis=1)


def _se_res2_block(x: Value, mask: Value | None, block: SeRes2Block) -> Value:
    inner = _res2(_tdnn(x, mask, block.enter), mask, block.res2, block.enter.conv.out_channels)
    return _excited(_tdnn(inner, mask, block.leave), mask, block.gate)


def _excited(x: Value, mask: Value | None, gate: SqueezeExcitation) -> Value:
    squeezed = linear(mean_over_time(x, mask), gate.squeeze).op("Relu")
    return x * linear(squeezed, gate.excite).op("Sigmoid").expand_dims(2)


NETWORKS: dict[str, Callable[..., Value]] = {"lstm": lstm, "gru": gru, "rescnn": rescnn, "resnet": resnet, "ecapa_tdnn": ecapa_tdnn}
