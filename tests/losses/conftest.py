"""Embeddings of a small batch, its speakers among more, and their bases; float64."""

from __future__ import annotations

import pytest
import torch

NUM_SPEAKERS, NUM_UTTERANCES, DIM, TRAINING_SPEAKERS = 5, 4, 7, 11


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(1902)


@pytest.fixture
def embeddings(generator):
    """Around a center of each speaker, of any length."""
    centers = torch.randn(NUM_SPEAKERS, 1, DIM, dtype=torch.float64, generator=generator)
    return centers + torch.randn(NUM_SPEAKERS, NUM_UTTERANCES, DIM, dtype=torch.float64, generator=generator)


@pytest.fixture
def speakers():
    """`(num_speakers, num_utterances)` classes: one speaker per row."""
    return torch.tensor([7, 0, 10, 3, 4])[:, None].repeat(1, NUM_UTTERANCES)


@pytest.fixture
def mixed_speakers(generator):
    """`(num_speakers, num_utterances)` classes in any order, some of them often and some once."""
    return torch.randint(6, (NUM_SPEAKERS, NUM_UTTERANCES), generator=generator)


@pytest.fixture
def bases(generator):
    return torch.randn(TRAINING_SPEAKERS, DIM, dtype=torch.float64, generator=generator)
