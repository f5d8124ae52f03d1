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
        AugmentConfig(0.5, (0, 10), 0.5, band_probability=0.5, time_masks=1, frequency_masks=1, frequency_mask_bands=2, consistency=1),
        [rng.normal(0, 1, (50, 6)).astype(np.float32)],
        [np.full((4, 6), 0.25)],
    )
    source = replace(source, batch=replace(source.batch, sampler=sampler))
    whole = make_batch(source, augment, [3, 0], 7)
    parts = [make_batch(source, augment, [3, 0], 7, rank, number) for rank in range(number)]
    torch.testing.assert_close(torch.cat([part.features for part in parts]), whole.features, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(torch.cat([part.clean for part in parts]), whole.clean, rtol=1e-6, atol=1e-6)
    assert [row for part in parts for row in part.rows] == list(range(12))
    assert all(part.utterances() == whole.utterances() for part in parts)
    assert all(torch.equal(part.speakers, whole.speakers) for part in parts)
    assert not torch.equal(make_batch(source, augment, [3, 0], 8).features[:, :10], whole.features[:, :10])


def test_the_classes_of_a_batch_are_those_of_its_utterances(source):
    batch = make_batch(replace(source, classes=np.arange(6) + 10), Augmentation(AugmentConfig()), [0, 0], 3)
    assert [int(name[1:3]) + 10 for name in batch.utterances()] == batch.speakers.flatten().tolist()


def test_clean_crops_are_those_of_the_originals_without_augmentation(source, rng):
    originals = np.arange(len(source.examples))
    originals[1::2] -= 1  # every second utterance is a copy of the one before
    source = replace(source, examples=replace(source.examples, originals=originals))
    augment = Augmentation(AugmentConfig(1.0, (0, 10), consistency=1.0), [rng.normal(0, 1, (50, 6)).astype(np.float32)])
    batch = make_batch(source, augment, [0, 0], 3)
    places = batch.places.ravel()
    assert (originals[places] != places).any() and batch.clean.shape == batch.features.shape
    length = batch.clean.shape[1]
    for place, clean, noisy in zip(places.tolist(), batch.clean, batch.features):
        original = originals[[place]]
        num_frames = int(source.examples.num_frames[original[0]])
        everything = source.examples.frames.crops(original, np.array([0]), num_frames)[0]
        offset, gain = (torch.from_numpy(part) for part in source.examples.normalization(original))
        expected = ((everything - offset) * gain).tile(2, 1) if num_frames < length else (everything - offset) * gain
        found = [torch.allclose(expected[start : start + length], clean, atol=1e-5) for start in range(max(num_frames - length, 0) + 1)]
        assert any(found) and not torch.allclose(clean, noisy, atol=0.1)


def test_without_consistency_no_clean_crops_are_made(source):
    assert make_batch(source, Augmentation(AugmentConfig()), [0, 0], 3).clean is None
