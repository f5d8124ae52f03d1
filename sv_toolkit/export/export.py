"""A model folder to one ONNX file: the network alone, or the whole way from the waveform to the d-vector.

The file is published only after ONNX Runtime has given with it what PyTorch gives with the model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit import __version__
from sv_toolkit.config import as_table
from sv_toolkit.errors import ModelError, OutputError, plain
from sv_toolkit.export.chain import dvector, network_input
from sv_toolkit.export.check import largest_difference
from sv_toolkit.export.front_end import features_of, frames_of
from sv_toolkit.export.graph import Graph
from sv_toolkit.export.networks import embeddings
from sv_toolkit.export.options import ExportOptions, FrontEnd, find_front_end
from sv_toolkit.export.vad import voiced_frames
from sv_toolkit.io.files import make_directory, regular_file, remove_leftovers_of, whole_binary
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.onnx_graph import OnnxGraph
from sv_toolkit.models.store import Description, load_model, model_digest, windows_table

LARGEST = 2**31 - 2**20  # bytes of a protobuf message, with some room


def export_model(model: Path, out: Path, options: ExportOptions, recordings: tuple[Path, ...] = (), overwrite: bool = False) -> str:
    """Write `out`; a sentence about what was done.

    Args:
        recordings: audio files on which ONNX Runtime and PyTorch are compared, beside made-up input.

    Raises:
        ModelError: the model folder is damaged, holds too little for what is asked, or the graph gives something else.
        OutputError: `out` is there already and is something else.
    """
    network, description = load_model(model)
    if isinstance(network, OnnxGraph):
        raise ModelError(f"{plain(model)}: was imported from an ONNX file; give that file to other programs")
    front_end = find_front_end(description, model, options)
    content = build_model(network, description, model_digest(model), front_end, options.with_lengths)
    is_there = _already_there(out, content, overwrite)
    if is_there and not recordings:
        return f"{plain(out)} is this model already; nothing to do"
    difference = largest_difference(content, network, description, front_end, options.with_lengths, recordings)
    if not is_there:
        _publish(out, content)
    return f"{plain(out)}: {len(content) / 1e6:.1f} MB; ONNX Runtime and PyTorch differ by at most {difference:.1e}"


def _already_there(out: Path, content: bytes, overwrite: bool) -> bool:
    if out.is_dir():
        raise OutputError(f"{plain(out)}: is a directory; give the name of the file to write")
    if not out.exists():
        return False
    if regular_file(out) and out.stat().st_size == len(content) and out.read_bytes() == content:
        return True
    if not overwrite:
        raise OutputError(f"{plain(out)}: is there already: another model, other options or another version; --overwrite replaces it")
    return False


def _publish(out: Path, content: bytes) -> None:
    make_directory(out.parent)
    remove_leftovers_of(out)
    with whole_binary(out) as stream:
        stream.write(content)


def build_model(network: SpeakerNetwork, description: Description, digest: str, front_end: FrontEnd | None, with_lengths: bool) -> bytes:
    """The bytes of the ONNX file; the same for the same model and options.

    Raises:
        ModelError: it would be larger than an ONNX file can be.
    """
    num_bytes = sum(tensor.numel() for tensor in network.state_dict().values()) * 4
    if num_bytes > LARGEST:
        raise ModelError(f"the weights take {num_bytes} bytes, an ONNX file has at most {LARGEST}")
    graph = Graph()
    if front_end is None:
        _network_alone(graph, network, description, with_lengths)
    else:
        _whole_way(graph, network, description, front_end)
    model = graph.model(description.architecture, _metadata(description, digest, front_end))
    return model.SerializeToString(deterministic=True)


def _network_alone(graph: Graph, network: SpeakerNetwork, description: Description, with_lengths: bool) -> None:
    features = graph.input("features", np.float32, ["batch", "num_frames", description.feature_dim])
    lengths = graph.input("lengths", np.int64, ["batch"]) if with_lengths else None
    result = embeddings(description.architecture, network, features, lengths)
    graph.output("embeddings", result, ["batch", embedding_dim(network)])


def _whole_way(graph: Graph, network: SpeakerNetwork, description: Description, front_end: FrontEnd) -> None:
    waveform = graph.input("waveform", np.float32, ["num_samples"])
    mask = graph.input("is_voiced", np.bool_, ["num_frames"]) if front_end.takes_mask else None
    frames = frames_of(waveform, front_end.features)
    features = features_of(frames, front_end.features)
    if front_end.vad is not None:
        mask = voiced_frames(frames, features, front_end.features, front_end.vad)
    elif mask is not None:
        mask = mask & (graph.arange(features.size(0)) >= 0)  # fails where there are not as many decisions as frames
    inputs = network_input(features, mask, description.input)
    num_frames = frames.num_frames if mask is None else mask.cast(np.int64).sum(0).op("Min", frames.num_frames)
    dim = embedding_dim(network)
    vector = dvector(inputs, lambda windows: embeddings(description.architecture, network, windows), dim, description.windows)
    enough = num_frames >= description.windows.shortest
    graph.output("dvector", enough.where(vector, 0.0), [dim])
    graph.output("num_frames", num_frames, [])


def embedding_dim(network: SpeakerNetwork) -> int:
    """Length of an embedding."""
    return int(network.config.embedding_dim)  # type: ignore[union-attr, arg-type]


def _metadata(description: Description, digest: str, front_end: FrontEnd | None) -> dict[str, str]:
    """What a program needs to use the file, and to know where it comes from; JSON where it is more than a word."""
    tables: dict[str, Any] = {
        "features": description.features,
        "input": as_table(description.input),
        "windows": windows_table(description.windows),
    }
    if front_end is not None:
        tables["graph_features"] = as_table(front_end.features)
        tables["graph_vad"] = as_table(front_end.vad) if front_end.vad is not None else "input" if front_end.takes_mask else "none"
        tables["sample_rate"] = front_end.features.sample_rate
    words = {"toolkit_version": __version__, "model_digest": digest, "architecture": description.architecture}
    return {**words, **{name: json.dumps(table, sort_keys=True) for name, table in tables.items()}}
