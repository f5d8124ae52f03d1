"""Batches made ahead: in order, and whatever ends the training or the thread, both end."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from sv_toolkit.training.augment import Augmentation
from sv_toolkit.training.batches import Source, make_batch, prefetch
from sv_toolkit.training.config import AugmentConfig, BatchConfig


@pytest.fixture
def source(data, load):
    return Source("a", 1.0, load(data, shortest=10, least=3, room=0), BatchConfig(4, 3, 10, 20), np.arange(6))


def fail_after(count, source, monkeypatch):
    """Reading fails after so many batches; the event is set when it has."""
    left, failed, crops = iter(range(count)), threading.Event(), source.examples.frames.crops

    def read(*given):
        if next(left, None) is None:
            failed.set()
            raise OSError("the archive is gone")
        return crops(*given)

    monkeypatch.setattr(source.examples.frames, "crops", read)
    return failed


def test_who_stops_while_an_error_waits_in_a_full_queue_is_not_kept(source, monkeypatch):
    failed = fail_after(4, source, monkeypatch)
    steps = prefetch([source], Augmentation(AugmentConfig()), 0, range(100), ahead=3)
    next(steps)
    assert failed.wait(30)  # three batches are ready, and the error has no room
    closing = threading.Thread(target=steps.close, daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()


def test_the_step_that_needs_a_batch_that_failed_raises_its_error(source, monkeypatch):
    fail_after(3, source, monkeypatch)
    steps = prefetch([source], Augmentation(AugmentConfig()), 0, range(100), ahead=2)
    for _ in range(3):
        next(steps)
    with pytest.raises(OSError, match="the archive is gone"):
        next(steps)


@pytest.mark.parametrize("number", [2, 3, 5])
@pytest.mark.parametrize("sampler", ["speakers", "tuples", "utterances"])
def test_processes_together_make_the_batch_of_one(source, rng, number, sampler):
    augment = Augmentation(
        AugmentConfig(0.5, (0, 10), 0.5, band_probability=0.5, time_masks=1, frequency_masks=1, frequency_mask_bands=2),
        [rng.normal(0, 1, (50, 6)).astype(np.float32)],
        [np.full((4, 6), 0.25)],
    )
    source = replace(source, batch=replace(source.batch, sampler=sampler))
    whole = make_batch(source, augment, [3, 0], 7)
    parts = [make_batch(source, augment, [3, 0], 7, rank, number) for rank in range(number)]
    torch.testing.assert_close(torch.cat([part.features for part in parts]), whole.features, rtol=1e-6, atol=1e-6)
    assert [row for part in parts for row in part.rows] == list(range(12))
    assert all(part.utterances() == whole.utterances() for part in parts)
    assert all(torch.equal(part.speakers, whole.speakers) for part in parts)
    assert not torch.equal(make_batch(source, augment, [3, 0], 8).features[:, :10], whole.features[:, :10])


def test_the_classes_of_a_batch_are_those_of_its_utterances(source):
    batch = make_batch(replace(source, classes=np.arange(6) + 10), Augmentation(AugmentConfig()), [0, 0], 3)
    assert [int(name[1:3]) + 10 for name in batch.utterances()] == batch.speakers.flatten().tolist()
