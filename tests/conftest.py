"""Shared fixtures; torch on one thread, so that tests give the same bits everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20171028)


@pytest.fixture
def corpora() -> Path:
    """Real recordings beside the checkout; the test is skipped, by name, where they are missing."""
    folder = SHARED / "corpora"
    if not folder.is_dir():
        pytest.skip("real recordings (../shared/corpora) are not here")
    return folder
