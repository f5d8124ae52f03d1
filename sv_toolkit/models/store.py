"""The folder a model lives in: `model.safetensors` and `model.json`; neither can run code.

`model.json` holds everything that inference needs (architecture, its sizes, input normalisation, window,
feature and VAD settings where known) and the digest of the weights.  It is written last.
"""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from sv_toolkit.config import as_table, build
from sv_toolkit.errors import ConfigError, ModelError, examples, plain
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.io.described import Keeper
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.registry import ARCHITECTURES, stored_entry

MAX_FEATURE_DIM = 1 << 20


def _hint(path: Path) -> str:
    """What the file looks like, for people whose download went wrong."""
    with open(path, "rb") as stream:
        head = stream.read(200).lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        return "; this is a git-lfs pointer: fetch the real file with git lfs pull"
    if head.startswith((b"<!doctype", b"<html")):
        return "; this is a web page: the download failed"
    return "" if head else "; it is empty or truncated"


MODEL = Keeper("model", "weights", "a model", "sv-train", _hint)
WEIGHTS, DESCRIPTION = MODEL.arrays, MODEL.description


@dataclass(frozen=True)
class WindowConfig:
    """Sliding window at inference, in frames (Wan et al. 2018, section 3.2: 160 frames, 50 % overlap).

    Utterances with fewer than `window` frames are one short window; with fewer than `shortest` they are skipped.

    Attributes:
        window: frames that the network sees at once.
        shift: frames from window to window.
        shortest: fewest frames of speech that give an embedding.
        coverage: 0: the last window is moved back so that it ends with the last frame.  Otherwise windows start every `shift`
            frames while at least this share of them lies inside the utterance; what is missing at the end is zeros.
        tail: so many of the last frames lie beyond the recording: windows see them, but they do not count.
        pad_short: with `coverage`: zeros also fill up the only window of an utterance that is shorter.
    """

    window: int = 160
    shift: int = 80
    shortest: int = 40
    coverage: float = 0.0
    tail: int = 0
    pad_short: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.coverage <= 1 or not 0 <= self.tail < self.shortest or (self.pad_short and not self.coverage):
            raise ConfigError(f"need 0 <= coverage <= 1, 0 <= tail < shortest, and pad_short only with coverage, got {self}")
        if self.tail and not self.coverage:
            raise ConfigError("tail needs coverage")
        if not 1 <= self.shortest <= self.window or not 1 <= self.shift <= self.window:
            raise ConfigError(f"need 1 <= shortest <= window and 1 <= shift <= window, got {self}")


def windows_table(windows: WindowConfig) -> dict[str, Any]:
    """As JSON holds them; how windows are filled up only where they are, so that other models and their digests stay as they were."""
    table = as_table(windows)
    return table if windows.coverage else {key: table[key] for key in ("window", "shift", "shortest")}


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
    config_class, module_class = stored_entry(description.architecture)
    return module_class(description.feature_dim, build(config_class, description.network, f"[network] of {description.architecture}"))


def save_model(folder: Path, weights: dict[str, Tensor], description: Description) -> None:
    """Write the model folder; a reader that comes in between sees weights that do not match their description."""
    content = {
        **{key.name: getattr(description, key.name) for key in dataclasses.fields(description)},
        "input": as_table(description.input),
        "windows": windows_table(description.windows),
    }
    MODEL.save(folder, save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}), content)


def read_description(folder: Path) -> tuple[Description, dict[str, Any]]:
    """The description in `folder/model.json`, and size and digest of the weights.

    Raises:
        ModelError: not a model folder of this toolkit, damaged, or from a newer version.
    """
    return MODEL.read(folder, _described)


def _described(content: dict[str, Any], where: str) -> Description:
    if not 0 < int(content["feature_dim"]) <= MAX_FEATURE_DIM:
        raise ValueError("feature_dim")
    return Description(
        architecture=str(content["architecture"]),
        network=dict(content["network"]),
        feature_dim=int(content["feature_dim"]),
        input=build(InputConfig, content["input"], f"{where}: input"),
        windows=build(WindowConfig, content["windows"], f"{where}: windows"),
        features={kind: {**made, "config": dict(made["config"])} for kind, made in content["features"].items()},
        provenance=dict(content["provenance"]),
    )


def load_model(folder: Path) -> tuple[SpeakerNetwork, Description]:
    """The network in evaluation mode on CPU, and its description.

    Raises:
        ModelError: weights missing, truncated, corrupt (digest), or of another network.
    """
    description, known = read_description(folder)
    weights = MODEL.load(folder, known, load)
    if description.architecture in ARCHITECTURES:  # an imported graph has no sizes of its own
        _refuse_other_sizes(description, weights, plain(folder / WEIGHTS))
    network = make_network(description)
    load_weights(network, weights, plain(folder / WEIGHTS))
    return network.eval(), description


def _refuse_other_sizes(description: Description, weights: dict[str, Tensor], where: str) -> None:
    """Compare names and shapes before memory is taken: a description may ask for any size, the weights are as large as their file."""
    thread, left = threading.get_ident(), [len(weights)]

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        if threading.get_ident() == thread and parameter is not None:
            left[0] -= 1
            if left[0] < 0:  # before a network of a million layers is complete
                raise ModelError(f"{where}: does not fit the architecture, which needs more than these {len(weights)} tensors")

    counting = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):  # shapes without memory
            network = make_network(description)
    except (RuntimeError, OverflowError, TypeError):  # torch has no numbers for such sizes
        raise ModelError(f"{where}: does not fit the architecture, whose sizes are beyond what a tensor can have") from None
    finally:
        counting.remove()
    _refuse_unfit(network.state_dict(), weights, where)


def model_digest(folder: Path) -> str:
    """What tells this model from every other: the SHA-256 of its weights."""
    return str(read_description(folder)[1]["sha256"])


def load_weights(network: nn.Module, weights: dict[str, Tensor], where: str) -> None:
    """Strictly: every name and shape must fit.

    Raises:
        ModelError: lists what is missing, unexpected or of another shape.
    """
    _refuse_unfit(network.state_dict(), weights, where)
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{where}: {plain(name)} holds values that are not finite")
    network.load_state_dict(weights)


def _refuse_unfit(own: dict[str, Tensor], weights: dict[str, Tensor], where: str) -> None:
    missing, unexpected = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or unexpected:
        raise ModelError(
            f"{where}: does not fit the architecture: {len(missing)} missing tensors ({examples(missing)}), {len(unexpected)} unexpected ({examples(unexpected)})"
        )
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape:
            raise ModelError(f"{where}: {plain(name)} has shape {tuple(tensor.shape)}, the architecture needs {tuple(own[name].shape)}")
