"""What is to be exported: what the user asks for, and what the model says about how its input is made."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sv_toolkit.config import build
from sv_toolkit.errors import ModelError, plain
from sv_toolkit.features import registry
from sv_toolkit.features.fbank import FbankConfig
from sv_toolkit.features.registry import FEATURES
from sv_toolkit.features.vad import VadConfig, vad_class
from sv_toolkit.models.store import Description

logger = logging.getLogger("sv_toolkit")
VADS = ("model", "input", "none")


@dataclass(frozen=True)
class ExportOptions:
    """What goes into the graph.

    Attributes:
        with_lengths: the network alone takes a second input, the frames that count of each row.
        with_features: from the waveform on, and up to one d-vector.
        vad: where the frames of speech come from then: "model", the detector that the model was trained with; "input", a
            second input; "none", all frames are taken.
    """

    with_lengths: bool = False
    with_features: bool = False
    vad: str = "model"

    def __post_init__(self) -> None:
        if self.vad not in VADS:
            raise ValueError(f"vad must be one of {', '.join(VADS)}, got {self.vad!r}")


@dataclass(frozen=True)
class FrontEnd:
    """What comes before the network: how the features are made, and which frames are kept.

    Attributes:
        features: without dither.
        vad: the detector in the graph, or None.
        takes_mask: the frames of speech are an input.
    """

    features: FbankConfig
    vad: VadConfig | None
    takes_mask: bool


def find_front_end(description: Description, model: Path, options: ExportOptions) -> FrontEnd | None:
    """What `model` says about its features and its detector, as far as `options` ask for it.

    Raises:
        ModelError: it does not say it, or its detector cannot be part of a graph.
    """
    if not options.with_features:
        return None
    kind = next((kind for kind in FEATURES if kind in description.features), None)
    if kind is None:
        raise ModelError(
            f"{plain(model)}: does not say how its features were made; export the network alone, without --with-features and --check"
        )
    if not FEATURES[kind].has_graph:
        raise ModelError(f"{plain(model)}: features of the kind {kind} cannot be part of a graph yet; export the network alone")
    features = build(FEATURES[kind].config, _recorded(description, kind), f"{plain(model)}: {kind}")
    if features.dim != description.feature_dim:
        raise ModelError(f"{plain(model)}: its {kind} options give {features.dim} columns, the network needs {description.feature_dim}")
    if features.dither:
        logger.warning("%s: its features have dither, which is chance; the graph has none", plain(model))
        features = replace(features, dither=0.0)
    if options.vad == "input":
        return FrontEnd(features, None, takes_mask=True)
    if options.vad == "none" or not description.input.use_vad:
        return FrontEnd(features, None, takes_mask=False)
    return FrontEnd(features, _detector(description, model), takes_mask=False)


def _detector(description: Description, model: Path) -> VadConfig:
    ways_out = "export the network alone, or give --vad input (the frames of speech are an input) or --vad none (all frames are taken)"
    if "vad" not in description.features:
        raise ModelError(f"{plain(model)}: does not say how its frames of speech were found; {ways_out}")
    config = build(vad_class(_recorded(description, "vad")), _recorded(description, "vad"), f"{plain(model)}: vad")
    if not registry.VADS[config.kind].has_graph:
        raise ModelError(
            f"{plain(model)}: its voice activity detector, {config.kind}, is a program and cannot be part of a graph; train on "
            f"decisions of the other one (sv-compute-vad --kind energy --overwrite DATA), {ways_out}"
        )
    return config


def _recorded(description: Description, kind: str) -> Any:
    made = description.features[kind]
    return made.get("config") if isinstance(made, dict) else None  # None: `build` says that a table is needed
