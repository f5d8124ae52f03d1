"""Utterance d-vectors against their definition, and their independence of company."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sv_toolkit.embeddings.embed import embed
from sv_toolkit.embeddings.windows import window_starts
from sv_toolkit.models.lstm import LstmConfig, LstmDvector
from sv_toolkit.models.store import WindowConfig

WINDOWS = WindowConfig(window=20, shift=10, shortest=5)


@pytest.fixture(params=["last", "mean"])
def network(request):
    torch.manual_seed(4)
    return LstmDvector(6, LstmConfig(12, 0, 2, 7, pooling=request.param)).eval()


@pytest.fixture
def inputs(rng):
    return [rng.standard_normal((length, 6)).astype(np.float32) for length in (57, 20, 13, 5, 100, 21)]


def slow_dvector(network, frames):
    """Mean of the unit-length vectors of the windows, normalised (Wan et al. 2018, section 3.2)."""
    total = 0
    for start in window_starts(len(frames), WINDOWS.window, WINDOWS.shift):
        vector = network(torch.from_numpy(frames[start : start + WINDOWS.window])[None])[0].detach().numpy()
        total = total + vector / np.linalg.norm(vector)
    return total / np.linalg.norm(total)


def test_dvectors_agree_with_the_mean_over_windows(network, inputs):
    expected = np.stack([slow_dvector(network, frames) for frames in inputs])
    np.testing.assert_allclose(embed(network, inputs, WINDOWS), expected, atol=2e-6)


def test_a_dvector_does_not_depend_on_the_other_utterances_or_the_batch_size(network, inputs):
    together = embed(network, inputs, WINDOWS, batch_size=4)
    alone = np.concatenate([embed(network, [frames], WINDOWS) for frames in inputs])
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_dvectors_have_unit_length_and_training_mode_is_put_back(network, inputs):
    network.train()
    vectors = embed(network, inputs, WINDOWS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert network.training


def test_bf16_gives_nearly_the_same_vectors():
    torch.manual_seed(0)
    network = LstmDvector(6, LstmConfig(8, 0, 1, 4)).eval()
    inputs = [np.random.default_rng(i).normal(size=(30 + i, 6)).astype(np.float32) for i in range(5)]
    exact, rough = (embed(network, inputs, WindowConfig(20, 10, 5), amp=amp) for amp in ("none", "bf16"))
    assert rough.dtype == np.float32 and (exact * rough).sum(axis=1).min() > 0.99 and not np.array_equal(exact, rough)
