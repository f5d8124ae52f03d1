"""The folder a model lives in: `model.safetensors` and `model.json`; neither can run code.

`model.json` holds everything that inference needs (architecture, its sizes, input normalisation, window,
feature and VAD settings where known) and the digest of the weights.  It is written last.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from sv_toolkit import __version__
from sv_toolkit.config import as_table, build
from sv_toolkit.errors import MALFORMED, ConfigError, ModelError, examples, plain
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.io.files import make_directory, read_json, regular_file, sha256_bytes, sha256_file, whole_binary, write_text
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.registry import architecture_entry

FORMAT = 1
MAX_FEATURE_DIM = 1 << 20
WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
MAX_DESCRIPTION_BYTES = 1 << 24


@dataclass(frozen=True)
class WindowConfig:
    """Sliding window at inference, in frames (Wan et al. 2018, section 3.2: 160 frames, 50 % overlap).

    Utterances with fewer than `window` frames are one short window; with fewer than `shortest` they are skipped.

    Attributes:
        window: frames that the network sees at once.
        shift: frames from window to window.
        shortest: fewest frames of speech that give an embedding.
    """

    window: int = 160
    shift: int = 80
    shortest: int = 40

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.window or not 1 <= self.shift <= self.window:
            raise ConfigError(f"need 1 <= shortest <= window and 1 <= shift <= window, got {self}")


@dataclass(frozen=True)
class Description:
    """What a model is, apart from its weights.

    Attributes:
        features: how the features were made (the `job` of the data directory's manifests: "fbank", "vad"), where known.
        provenance: training data digest, configuration, seed, steps, dev EER.
    """

    architecture: str
    network: dict[str, Any]
    feature_dim: int
    input: InputConfig
    windows: WindowConfig
    features: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


def make_network(description: Description) -> SpeakerNetwork:
    """A network with fresh weights."""
    config_class, module_class = architecture_entry(description.architecture)
    return module_class(description.feature_dim, build(config_class, description.network, f"[network] of {description.architecture}"))


def save_model(folder: Path, weights: dict[str, Tensor], description: Description) -> None:
    """Write the model folder; a reader that comes in between sees weights that do not match their description."""
    make_directory(folder)
    blob = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    content = {
        "format": FORMAT,
        "toolkit_version": __version__,
        **{key.name: getattr(description, key.name) for key in dataclasses.fields(description)},
        "input": as_table(description.input),
        "windows": as_table(description.windows),
        "weights": {"size": len(blob), "sha256": sha256_bytes(blob)},
    }
    with whole_binary(folder / WEIGHTS) as stream:
        stream.write(blob)
    write_text(folder / DESCRIPTION, json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_description(folder: Path) -> tuple[Description, dict[str, Any]]:
    """The description in `folder/model.json`, and size and digest of the weights.

    Raises:
        ModelError: not a model folder of this toolkit, damaged, or from a newer version.
    """
    where = _model_file(folder, DESCRIPTION)
    try:
        content = read_json(where)
        if content["format"] != FORMAT:
            raise ModelError(
                f"{plain(where)}: model format version {plain(content['format'])}, this toolkit ({__version__}) reads version {FORMAT}"
            )
        if not 0 < int(content["feature_dim"]) <= MAX_FEATURE_DIM:
            raise ValueError("feature_dim")
        description = Description(
            architecture=str(content["architecture"]),
            network=dict(content["network"]),
            feature_dim=int(content["feature_dim"]),
            input=build(InputConfig, content["input"], f"{plain(where)}: input"),
            windows=build(WindowConfig, content["windows"], f"{plain(where)}: windows"),
            features={kind: {**made, "config": dict(made["config"])} for kind, made in content["features"].items()},
            provenance=dict(content["provenance"]),
        )
        return description, {"size": int(content["weights"]["size"]), "sha256": str(content["weights"]["sha256"])}
    except MALFORMED:
        raise ModelError(f"{plain(where)}: is not a model description of this toolkit, or it is truncated") from None


def load_model(folder: Path) -> tuple[SpeakerNetwork, Description]:
    """The network in evaluation mode on CPU, and its description.

    Raises:
        ModelError: weights missing, truncated, corrupt (digest), or of another network.
    """
    description, known = read_description(folder)
    path = _model_file(folder, WEIGHTS)
    size = path.stat().st_size
    if size != known["size"]:
        raise ModelError(f"{plain(path)}: {size} bytes, {known['size']} were written: truncated, or the weights of another model")
    if sha256_file(path) != known["sha256"]:
        raise ModelError(f"{plain(path)}: corrupt: its checksum is not the one in {DESCRIPTION}")
    network = make_network(description)
    load_weights(network, _read_tensors(path), plain(path))
    return network.eval(), description


def model_digest(folder: Path) -> str:
    """What tells this model from every other: the SHA-256 of its weights."""
    return str(read_description(folder)[1]["sha256"])


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{plain(path)}: not a safetensors file: {plain(error)}") from None


def load_weights(network: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    """Strictly: every name and shape must fit.

    Raises:
        ModelError: lists what is missing, unexpected or of another shape.
    """
    own = network.state_dict()
    missing, unexpected = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or unexpected:
        raise ModelError(
            f"{where}: does not fit the architecture: {len(missing)} missing tensors ({examples(missing)}), {len(unexpected)} unexpected ({examples(unexpected)})"
        )
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise ModelError(f"{where}: {plain(name)} has shape {tuple(tensor.shape)}, the architecture needs {tuple(own[name].shape)}")
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{where}: {plain(name)} holds values that are not finite")
    network.load_state_dict(weights)


def _model_file(folder: Path, name: str) -> Path:
    if not folder.exists():
        raise ModelError(f"{plain(folder)}: no such model folder; sv-train makes one")
    if not folder.is_dir():
        raise ModelError(
            f"{plain(folder)}: is a file; a model is a folder with {WEIGHTS} and {DESCRIPTION} (the architecture), as sv-train makes it{_hint(folder)}"
        )
    path = folder / name
    if not regular_file(path):
        raise ModelError(f"{plain(path)}: missing: {plain(folder)} is not a model folder, or its training has not finished")
    if name == DESCRIPTION and path.stat().st_size > MAX_DESCRIPTION_BYTES:
        raise ModelError(f"{plain(path)}: {path.stat().st_size} bytes is too large for a model description")
    return path


def _hint(path: Path) -> str:
    """What the file looks like, for people whose download went wrong."""
    with open(path, "rb") as stream:
        head = stream.read(200).lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        return "; this is a git-lfs pointer: fetch the real file with git lfs pull"
    if head.startswith((b"<!doctype", b"<html")):
        return "; this is a web page: the download failed"
    return "" if head else "; it is empty or truncated"
