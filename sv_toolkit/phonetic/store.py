"""The folder a frame classifier lives in: `phones.safetensors` and `phones.json`; neither can run code."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sv_toolkit.config import as_table, build
from sv_toolkit.errors import ModelError, plain
from sv_toolkit.io.described import Keeper
from sv_toolkit.phonetic.alignment import Classes
from sv_toolkit.phonetic.config import PhoneConfig

if TYPE_CHECKING:
    from sv_toolkit.phonetic.network import PhoneNetwork

CLASSIFIER = Keeper("phones", "weights", "a frame classifier", "sv-train-phones")


@dataclass(frozen=True)
class Description:
    """What a classifier is, apart from its weights.

    Attributes:
        phones: in the order of their classes.
        feature_dim: columns of feats.scp.
        features: how these were made, where known.
        provenance: digest of the training data, accuracies.
    """

    config: PhoneConfig
    phones: tuple[str, ...]
    feature_dim: int
    features: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> Classes:
        """The classes of the network's output."""
        return Classes(self.phones, self.config.parts, self.config.silence)


def save_classifier(folder: Path, network: PhoneNetwork, description: Description) -> None:
    """Write the folder; the description comes last."""
    from safetensors.torch import save

    blob = save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})
    CLASSIFIER.save(folder, blob, {**vars(description), "config": as_table(description.config), "phones": list(description.phones)})


def read_description(folder: Path) -> tuple[Description, dict[str, Any]]:
    """The description, and size and digest of the weights.

    Raises:
        ModelError: not such a folder, damaged, or from a newer version.
    """
    return CLASSIFIER.read(folder, _described)


def _described(content: dict[str, Any], where: str) -> Description:
    config = build(PhoneConfig, content["config"], f"{where}: config")
    phones = tuple(str(phone) for phone in content["phones"])
    if config.silence not in phones or len(set(phones)) != len(phones):
        raise ModelError(f"{where}: phones must be different and have {plain(config.silence)} among them")
    features = {kind: {**made, "config": dict(made["config"])} for kind, made in content["features"].items()}
    return Description(config, phones, int(content["feature_dim"]), features, dict(content["provenance"]))


def load_classifier(folder: Path) -> tuple[PhoneNetwork, Description]:
    """The network, ready for inference, and its description.

    Raises:
        ModelError: something is missing, damaged or does not fit.
    """
    import torch
    from safetensors.torch import load

    from sv_toolkit.phonetic.network import PhoneNetwork

    description, known = read_description(folder)
    network = PhoneNetwork(description.feature_dim, len(description.classes.names), description.config)
    weights = CLASSIFIER.load(folder, known, load)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
        raise ModelError(f"{plain(folder / CLASSIFIER.arrays)}: weights are not finite")
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError:
        raise ModelError(f"{plain(folder / CLASSIFIER.arrays)}: weights do not fit {CLASSIFIER.description}") from None
    return network.eval(), description
