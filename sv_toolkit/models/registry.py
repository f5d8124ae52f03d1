"""Which networks there are: a name, its configuration, its module."""

from __future__ import annotations

from typing import Any

from sv_toolkit.errors import ConfigError
from sv_toolkit.models.ecapa_tdnn import EcapaTdnn, EcapaTdnnConfig
from sv_toolkit.models.gru import Gru, GruConfig
from sv_toolkit.models.lstm import LstmConfig, LstmDvector
from sv_toolkit.models.network import SpeakerNetwork
from sv_toolkit.models.onnx_graph import OnnxGraph, OnnxGraphConfig
from sv_toolkit.models.rescnn import ResCnn, ResCnnConfig
from sv_toolkit.models.resnet import ResNet, ResNetConfig

ARCHITECTURES: dict[str, tuple[type, type[SpeakerNetwork]]] = {
    "lstm": (LstmConfig, LstmDvector),
    "gru": (GruConfig, Gru),
    "rescnn": (ResCnnConfig, ResCnn),
    "resnet": (ResNetConfig, ResNet),
    "ecapa_tdnn": (EcapaTdnnConfig, EcapaTdnn),
}
IMPORTED: dict[str, tuple[type, type[SpeakerNetwork]]] = {"onnx": (OnnxGraphConfig, OnnxGraph)}  # made by sv-import, never trained


def architecture_entry(name: str) -> tuple[type, Any]:
    """Configuration class and module class of the architecture `name`."""
    if name not in ARCHITECTURES:
        raise ConfigError(f"no architecture {name!r}; known: {', '.join(sorted(ARCHITECTURES))}")
    return ARCHITECTURES[name]


def stored_entry(name: str) -> tuple[type, Any]:
    """As `architecture_entry`, for the network of a model folder, which may be imported."""
    return IMPORTED[name] if name in IMPORTED else architecture_entry(name)
