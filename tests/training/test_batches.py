"""Batches made ahead: in order, and whatever ends the training or the thread, both end."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.training.augment import Augment
from sv_toolkit.training.batches import Source, prefetch
from sv_toolkit.training.config import AugmentConfig, BatchConfig
from sv_toolkit.training.examples import load_examples


@pytest.fixture
def source(data):
    examples = load_examples(FeatureIndex(data, need_vad=True), InputConfig(), 10, 3, 0, preload_gb=0.0)
    return Source("a", 1.0, examples, BatchConfig(4, 3, 10, 20), np.arange(6))


def fail_after(count, source, monkeypatch):
    """Reading fails after so many batches; the event is set when it has."""
    left, failed, cut = iter(range(12 * count)), threading.Event(), source.examples.frames.cut

    def read(*given):
        if next(left, None) is None:
            failed.set()
            raise OSError("the archive is gone")
        return cut(*given)

    monkeypatch.setattr(source.examples.frames, "cut", read)
    return failed


def test_who_stops_while_an_error_waits_in_a_full_queue_is_not_kept(source, monkeypatch):
    failed = fail_after(4, source, monkeypatch)
    steps = prefetch([source], Augment(AugmentConfig()), 0, range(100), ahead=3)
    next(steps)
    assert failed.wait(30)  # three batches are ready, and the error has no room
    closing = threading.Thread(target=steps.close, daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()


def test_the_step_that_needs_a_batch_that_failed_raises_its_error(source, monkeypatch):
    fail_after(3, source, monkeypatch)
    steps = prefetch([source], Augment(AugmentConfig()), 0, range(100), ahead=2)
    for _ in range(3):
        next(steps)
    with pytest.raises(OSError, match="the archive is gone"):
        next(steps)
