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
    torch.testing.assert_close(torch.cat([part.original for part in parts]), whole.original, rtol=1e-6, atol=1e-6)
    assert [row for part in parts for row in part.rows] == list(range(12))
    assert all(part.utterances() == whole.utterances() for part in parts)
    assert all(torch.equal(part.speakers, whole.speakers) for part in parts)
    assert not torch.equal(make_batch(source, augment, [3, 0], 8).features[:, :10], whole.features[:, :10])


def test_the_classes_of_a_batch_are_those_of_its_utterances(source):
    batch = make_batch(replace(source, classes=np.arange(6) + 10), Augmentation(AugmentConfig()), [0, 0], 3)
    assert [int(name[1:3]) + 10 for name in batch.utterances()] == batch.speakers.flatten().tolist()


def test_originals_are_the_crops_with_the_same_noise_before_codecs_bands_and_masks(source, rng):
    originals = np.arange(len(source.examples))
    originals[1::2] -= 1  # every second utterance is a copy of the one before
    source = replace(source, examples=replace(source.examples, originals=originals))
    noise = [rng.normal(0, 1, (50, 6)).astype(np.float32)]
    config = AugmentConfig(0.5, (0, 10), band_probability=1.0, band_kept=(0.5, 0.7), time_masks=2, consistency=1.0)
    batch = make_batch(source, Augmentation(config, noise), [0, 0], 3)
    whole = replace(config, band_probability=0.0, time_masks=0)
    own = make_batch(source, Augmentation(whole, noise), [0, 0], 3)  # noise is drawn before bands and masks
    is_copy = (originals[batch.places] != batch.places).ravel()
    assert 0 < is_copy.sum() < is_copy.size and not torch.allclose(batch.original, batch.features, atol=0.1)
    torch.testing.assert_close(batch.original[~is_copy], own.original[~is_copy])
    torch.testing.assert_close(own.original[~is_copy], own.features[~is_copy])


def test_the_original_of_a_copy_is_a_crop_of_what_it_is_a_copy_of(source):
    originals = np.arange(len(source.examples)) // 2 * 2  # every second utterance is a copy of the one before
    source = replace(source, examples=replace(source.examples, originals=originals))
    batch = make_batch(source, Augmentation(AugmentConfig(band_probability=1.0, consistency=1.0)), [0, 0], 3)
    length = batch.original.shape[1]
    for place, crop in zip(batch.places.ravel().tolist(), batch.original):
        original = originals[[place]]
        num_frames = max(int(source.examples.num_frames[original[0]]), length)
        everything = source.examples.frames.crops(original, np.array([0]), num_frames)[0]
        offset, gain = (torch.from_numpy(part) for part in source.examples.normalization(original))
        starts = ((everything - offset) * gain).unfold(0, length, 1).transpose(1, 2)
        assert (starts - crop).abs().amax(dim=(1, 2)).min() < 1e-5


def test_without_consistency_there_are_no_originals(source):
    assert make_batch(source, Augmentation(AugmentConfig()), [0, 0], 3).original is None
