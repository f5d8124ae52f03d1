"""Resemblyzer's checkpoint (pretrained.pt, or the wheel that holds it) to a model folder.

Its network is LSTM layers, the last state through a linear layer and a rectifier, L2 norm: our `lstm` with `frame_dim`, whose
own linear layer is the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sv_toolkit.config import as_table
from sv_toolkit.errors import ModelError, plain
from sv_toolkit.features.mel_spectrogram import MelSpectrogramConfig
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.io.files import sha256_bytes
from sv_toolkit.models.importing.checkpoint import checked_tensors, read_checkpoint, read_source
from sv_toolkit.models.importing.publish import publish
from sv_toolkit.models.lstm import LstmConfig, LstmDvector
from sv_toolkit.models.store import Description, WindowConfig

PADDINGS = ("all", "long", "none")
MEMBER = "resemblyzer/pretrained.pt"
MAX_LAYERS, MAX_UNITS = 8, 4096
SCORE = {"similarity_weight": (1,), "similarity_bias": (1,)}  # of its loss; embeddings need neither
WINDOW, SHIFT, COVERAGE, TAIL = 160, 77, 0.75, 2  # 1.3 windows a second, as `embed_utterance` takes them
HALF = 80  # shift of our own windows


@dataclass(frozen=True)
class ResemblyzerOptions:
    """What its package decides around the network.

    Attributes:
        preprocess: the gain to -30 dBFS and the removal of pauses, its `preprocess_wav`; False: `embed_utterance` alone.
        padding: which windows are filled up with zeros: "all", as the package does; "long", the last one of recordings above
            1.6 s; "none": our windows, every 80 frames and the last one moved back, and a short recording is one short window.
        shortest: fewest frames that give an embedding.
        overwrite: replace another model.
    """

    preprocess: bool = True
    padding: str = "long"
    shortest: int = 40
    overwrite: bool = False


def import_resemblyzer(source: Path, out: Path, options: ResemblyzerOptions) -> str:
    """Write the model folder `out`; a sentence about what was done.

    Raises:
        ModelError: the file is damaged, hostile, or another model's.
        OutputError: `out` holds something else.
    """
    content = read_source(source, MEMBER)
    try:
        network = _network(read_checkpoint(content))
    except ModelError as error:
        raise ModelError(f"{plain(source)}: {error}") from None
    return publish(network, _description(network, content, options), out, options.overwrite)


def _network(checkpoint: object) -> LstmDvector:
    state: Any = checkpoint.get("model_state") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict):
        raise ModelError("holds no table model_state; needed is the pretrained.pt of Resemblyzer")
    layers, units, bands, dim = _sizes(state)
    tensors = checked_tensors(state, _shapes(layers, units, bands, dim))
    config = LstmConfig(units, 0, layers, dim, frame_dim=dim, pooling="last")
    network = LstmDvector(bands, config)
    names = {"linear.weight": "frame.weight", "linear.bias": "frame.bias"}
    weights = {names.get(name, name): tensor for name, tensor in tensors.items() if name not in SCORE}
    network.load_state_dict({**weights, "linear.weight": torch.eye(dim), "linear.bias": torch.zeros(dim)})
    return network.eval()


def _sizes(state: dict[str, Any]) -> tuple[int, int, int, int]:
    """Layers, units, bands and dimension, each within bounds."""
    layers = sum(str(name).startswith("lstm.weight_hh_l") for name in state)
    (_, units), (_, bands), (dim, _) = (_axes(state, name) for name in ("lstm.weight_hh_l0", "lstm.weight_ih_l0", "linear.weight"))
    if not 1 <= layers <= MAX_LAYERS or max(units, bands, dim) > MAX_UNITS or min(units, bands, dim) < 1:
        raise ModelError(
            f"{layers} layers of {units} units, {bands} bands and {dim} dimensions; at most {MAX_LAYERS} layers and {MAX_UNITS} of each"
        )
    return layers, units, bands, dim


def _axes(state: dict[str, Any], name: str) -> tuple[int, int]:
    tensor = state.get(name)
    if not isinstance(tensor, Tensor) or tensor.dim() != 2:
        raise ModelError(f"its tensors are not those of this model: {name} is missing, or no matrix")
    return tensor.shape[0], tensor.shape[1]


def _shapes(layers: int, units: int, bands: int, dim: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {**SCORE, "linear.weight": (dim, units), "linear.bias": (dim,)}
    for layer in range(layers):
        shapes[f"lstm.weight_ih_l{layer}"] = (4 * units, units if layer else bands)
        shapes[f"lstm.weight_hh_l{layer}"] = (4 * units, units)
        shapes[f"lstm.bias_ih_l{layer}"] = shapes[f"lstm.bias_hh_l{layer}"] = (4 * units,)
    return shapes


def _description(network: LstmDvector, content: bytes, options: ResemblyzerOptions) -> Description:
    bands = network.lstm.input_size
    level = -30.0 if options.preprocess else 0.0
    shift, tail, coverage = (HALF, 0, 0.0) if options.padding == "none" else (SHIFT, TAIL, COVERAGE)
    features = MelSpectrogramConfig(num_mel_bins=bands, log="none", tail=tail, level_db=level, trim_pauses=options.preprocess)
    return Description(
        "lstm",
        as_table(network.config),
        bands,
        InputConfig(cmvn="none", use_vad=False, scale=1.0),
        WindowConfig(WINDOW, shift, max(options.shortest, tail + 1), coverage, tail, options.padding == "all"),
        {"mel": {"config": as_table(features)}},
        {"source": "resemblyzer", "sha256": sha256_bytes(content)},
    )
