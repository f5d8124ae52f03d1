"""Stacked frames and the network agree with loops in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sv_toolkit.features.stacking import with_context
from sv_toolkit.keyword.config import DetectorConfig, KeywordConfig
from sv_toolkit.keyword.posteriors import forward, stacked
from sv_toolkit.keyword.train import make_network


@pytest.mark.parametrize(("left", "right"), [(0, 0), (3, 2), (12, 0)])
def test_stacked_frames_agree_with_a_loop(left, right):
    features = np.random.default_rng(0).standard_normal((9, 4))
    rows = stacked(with_context(features, left, right), left + 1 + right)
    assert rows.shape == (9, 4 * (left + 1 + right))
    for frame in range(9):
        own = np.array([features[min(max(k, 0), 8)] for k in range(frame - left, frame + right + 1)])
        np.testing.assert_allclose(rows[frame], (own - own.mean()).ravel(), atol=1e-14)


def test_the_level_of_a_recording_does_not_matter():
    features = np.random.default_rng(1).standard_normal((20, 5))
    louder = stacked(with_context(features + 3.5, 6, 2), 9)
    np.testing.assert_allclose(louder, stacked(with_context(features, 6, 2), 9), atol=1e-13)


def test_a_recording_shorter_than_the_context_and_one_of_no_frame():
    assert stacked(with_context(np.zeros((1, 5)), 6, 2), 9).shape == (1, 45)
    assert stacked(with_context(np.zeros((0, 5)), 6, 2), 9).shape == (0, 45)


def test_the_network_of_the_detector_is_the_one_that_was_trained():
    network = make_network(KeywordConfig(detector=DetectorConfig(left=1, right=1, hidden=8)), 4).double().eval()
    rng = np.random.default_rng(2)
    rows, mean, scale = rng.standard_normal((6, 120)), rng.standard_normal(120), rng.random(120)
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    weights = {"mean": mean, "scale": scale}
    for number, layer in enumerate(linear):
        weights |= {f"weight{number}": layer.weight.detach().numpy(), f"bias{number}": layer.bias.detach().numpy()}
    with torch.no_grad():
        expected = network(torch.from_numpy((rows - mean) * scale)).softmax(dim=1).numpy()
    np.testing.assert_allclose(forward(rows, weights), expected, atol=1e-12)
