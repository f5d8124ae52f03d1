"""The frame classifier: layers of one size over stacked log energies, as in hybrid speech recognisers (Hinton et al. 2012)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sv_toolkit.features.stacking import stack_frames
from sv_toolkit.phonetic.config import PhoneConfig


class PhoneNetwork(nn.Sequential):
    """Stacked frames `(num_frames, (left + 1 + right) * dim)` to logits `(num_frames, num_classes)`."""

    def __init__(self, feature_dim: int, num_classes: int, config: PhoneConfig) -> None:
        size = (config.left + 1 + config.right) * feature_dim
        layers: list[nn.Module] = []
        for _ in range(config.num_layers):
            layers += [nn.Linear(size, config.hidden_size), nn.LayerNorm(config.hidden_size), nn.ReLU(), nn.Dropout(config.dropout)]
            size = config.hidden_size
        super().__init__(*layers, nn.Linear(size, num_classes))


def normalized(features: np.ndarray) -> np.ndarray:
    """Log energies `(num_frames, dim)` less their mean over the louder frames, float32.

    Louder than the mean level of the utterance: the share of silence, which differs between corpora, cannot move the mean.
    """
    levels = features.mean(axis=1)
    louder = features[levels >= levels.mean()]
    return (features - louder.mean(axis=0, dtype=np.float64)).astype(np.float32)


def network_input(features: np.ndarray, config: PhoneConfig) -> Tensor:
    """What the network sees of an utterance: normalised and stacked."""
    return torch.from_numpy(stack_frames(normalized(features), config.left, config.right))


def posteriors(network: PhoneNetwork, features: np.ndarray, config: PhoneConfig) -> np.ndarray:
    """Probabilities of the classes `(num_frames, num_classes)` float32; every row adds up to 1."""
    with torch.inference_mode():
        return torch.softmax(network(network_input(features, config)), dim=1).numpy()
