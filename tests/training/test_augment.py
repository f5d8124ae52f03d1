"""Augmentation in the mel domain: powers add, ratios are those asked for, normalisation follows, rows do not touch each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import ConfigError, ModelError
from sv_toolkit.features.fbank import fbank
from sv_toolkit.features.fbank_config import FbankConfig
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.training.augment import (
    NONE,
    Augmentation,
    limit_bands,
    load_log_mel,
    mask,
    mix_noise,
    refuse_other_than_log_mel,
    response_powers,
    reverberate,
)
from sv_toolkit.training.config import AugmentConfig

CPU = torch.device("cpu")


def crops(augment, examples, places, starts, num_frames, rng):
    places, starts = np.array(places), np.array(starts)
    plan = augment.draw(len(places), num_frames, examples.dim, rng)
    return augment.inputs(examples, places, starts, num_frames, plan, CPU).numpy()


def reverberant(speech, response):
    """`reverberate` of one crop that nothing was said before."""
    past = np.full((len(response) - 1, speech.shape[1]), -np.inf)
    speech, response = np.concatenate([past, speech]).astype(np.float64), response.astype(np.float64)
    return reverberate(torch.from_numpy(speech)[None], torch.from_numpy(response)[None])[0].numpy()


@pytest.mark.parametrize("snr", [-5.0, 0.0, 17.0])
def test_mixed_power_is_the_sum_at_the_ratio_asked_for(rng, snr):
    speech, noise = torch.from_numpy(rng.normal(8, 3, (3, 40, 5))), torch.from_numpy(rng.normal(2, 1, (3, 40, 5)))
    added = mix_noise(speech, noise, torch.tensor([snr, 0.0, 5.0])).exp() - speech.exp()
    assert (added > 0).all()
    ratio = 10 * (speech.exp().mean(dim=(1, 2)) / added.mean(dim=(1, 2))).log10()
    np.testing.assert_allclose(ratio, [snr, 0.0, 5.0], atol=1e-3)
    gain = added[0] / noise[0].exp()
    np.testing.assert_allclose(gain, torch.full_like(gain, float(gain[0, 0])), rtol=1e-3)


def test_silent_noise_changes_nothing(rng):
    speech = torch.from_numpy(rng.normal(8, 3, (2, 40, 5)))
    np.testing.assert_allclose(mix_noise(speech, torch.from_numpy(rng.normal(2, 1, (2, 40, 5))), torch.tensor(200.0)), speech, atol=1e-6)


@pytest.mark.parametrize("cmvn", ["level", "utterance"])
@pytest.mark.parametrize("kind", ["noise", "bands"])
@pytest.mark.parametrize("variance", [False, True])
def test_a_changed_crop_of_the_whole_utterance_is_normalized_as_a_changed_utterance(data, load, cmvn, kind, variance, rng):
    examples = load(data, InputConfig(cmvn=cmvn, cmvn_variance=variance, scale=1.0))
    config = AugmentConfig(1.0, (0.0, 0.0)) if kind == "noise" else AugmentConfig(band_probability=1.0, band_kept=(0.5, 0.8))
    augment = Augmentation(config, [rng.normal(0, 1, (200, 6)).astype(np.float32)])
    piece = crops(augment, examples, [0], [0], int(examples.num_frames[0]), rng)[0]
    mean = piece.mean(axis=0) if cmvn == "utterance" else piece.mean()
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    if variance:
        np.testing.assert_allclose(piece.std(axis=0) if cmvn == "utterance" else piece.std(), 1, rtol=1e-4)


def test_without_noise_crops_come_through_unchanged(data, load, rng):
    examples = load(data)
    found = crops(Augmentation(AugmentConfig(1.0, reverb_probability=1.0)), examples, [3, 0], [2, 5], 10, rng)
    offset, gain = examples.normalization(np.array([3, 0]))
    expected = (examples.frames.crops(np.array([3, 0]), np.array([2, 5]), 10).numpy() - offset[:, None]) * gain[:, None]
    np.testing.assert_array_equal(found, expected)


def test_a_crop_does_not_depend_on_the_others_of_its_batch(data, load, rng):
    examples = load(data)
    config = AugmentConfig(0.5, (0, 10), 0.5, 0.5, time_masks=2, frequency_masks=1, frequency_mask_bands=3)
    augment = Augmentation(config, [rng.normal(0, 1, (50, 6)).astype(np.float32)], [np.full((4, 6), 0.25), np.full((2, 6), 0.5)])
    places, starts = np.arange(12), np.zeros(12, int)
    plan = augment.draw(12, 15, 6, rng)
    assert len(set(plan.noise.tolist())) == 2 and len(set(plan.response.tolist())) == 3  # some have none
    whole = augment.inputs(examples, places, starts, 15, plan, CPU)
    for first in range(0, 12, 3):
        own = slice(first, first + 3)
        part = augment.inputs(examples, places[own], starts[own], 15, plan.rows(range(first, first + 3)), CPU)
        torch.testing.assert_close(part, whole[own], rtol=1e-6, atol=1e-6)


def test_noise_goes_on_from_its_start_and_round_again(rng):
    noises = [rng.normal(0, 1, (7, 2)).astype(np.float32), rng.normal(0, 1, (30, 2)).astype(np.float32)]
    found = Augmentation(AugmentConfig(), noises)._noise(np.array([0, 1, 0]), np.array([5, 3, 0]), 20).numpy()
    for row, number, start in zip(found, (0, 1, 0), (5, 3, 0)):
        np.testing.assert_array_equal(row, noises[number][(start + np.arange(20)) % len(noises[number])])


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_as_many_crops_are_changed_as_asked_for(rng, probability):
    config = AugmentConfig(probability, reverb_probability=probability, band_probability=probability, band_kept=(0.5, 0.9))
    plan = Augmentation(config, [np.zeros((9, 20))], [np.ones((1, 20))]).draw(2000, 30, 20, rng)
    for share in ((plan.noise != NONE).mean(), (plan.response != NONE).mean(), (plan.band_stop < 20).mean()):
        assert share == pytest.approx(probability, abs=0.055)  # five standard deviations


def test_noise_of_another_width_or_under_sliding_normalization_is_refused(data, monkeypatch):
    index, wide = FeatureIndex(data, need_vad=False), FeatureIndex(data, need_vad=False)
    monkeypatch.setattr(wide, "dim", 40)
    with pytest.raises(ModelError, match="6 columns, the training data needs 40"):
        load_log_mel(index, wide, "level")
    with pytest.raises(ConfigError, match="sliding"):
        load_log_mel(index, index, "sliding")


def test_noise_is_not_mixed_into_cepstra(data, say_how):
    say_how(data, "mfcc", num_ceps=6)
    index = FeatureIndex(data, need_vad=False)
    with pytest.raises(ConfigError, match="features are mfcc; noise, rooms and lost bands need the mel powers"):
        refuse_other_than_log_mel(index, "level")


def decaying_noise(rng, seconds=0.25, rate=16_000):
    time = np.arange(int(seconds * rate)) / rate
    response = rng.standard_normal(len(time)) * np.exp(-time / 0.05) * 0.05
    response[0] = 1.0
    return response


def test_a_room_in_the_mel_domain_agrees_with_the_convolved_waveform(rng):
    """The same frames up to the phase that the features do not have: the mean error is far below that of no room at all."""
    speech = rng.standard_normal(16_000) * np.repeat(rng.random(20) ** 3, 800) * 3000
    response = decaying_noise(rng)
    config = FbankConfig(num_mel_bins=23, dither=0.0)
    dry, wet = fbank(speech.astype(np.float32), config), fbank(np.convolve(speech, response)[:16_000].astype(np.float32), config)
    kernel = response_powers(fbank(np.concatenate([np.zeros(200), response, np.zeros(4000)]).astype(np.float32), config))
    level = wet.mean() - reverberant(dry, kernel).mean()
    assert np.abs(reverberant(dry, kernel) + level - wet).mean() < 0.4 * np.abs(dry - dry.mean() + wet.mean() - wet).mean()


def test_a_response_of_one_frame_leaves_speech_as_it_was(rng):
    speech = rng.normal(8, 3, (40, 5))
    np.testing.assert_allclose(reverberant(speech, np.ones((1, 5))), speech, atol=1e-6)


def test_a_room_adds_the_powers_of_earlier_frames(rng):
    speech, response = rng.normal(2, 1, (12, 3)), rng.random((4, 3))
    slow = np.array([[sum(response[d, b] * np.exp(speech[t - d, b]) for d in range(min(t + 1, 4))) for b in range(3)] for t in range(12)])
    np.testing.assert_allclose(np.exp(reverberant(speech, response)), slow, rtol=1e-6)


def test_a_crop_hears_what_was_said_before_it(data, load):
    examples = load(data, InputConfig(cmvn="none", scale=1.0))
    augment = Augmentation(AugmentConfig(reverb_probability=1.0), responses=[np.full((5, 6), 0.2)])
    whole = crops(augment, examples, [0], [0], 20, np.random.default_rng(0))[0]
    part = crops(augment, examples, [0], [8], 12, np.random.default_rng(0))[0]
    np.testing.assert_allclose(part, whole[8:], rtol=1e-5)


def test_bands_are_lost_at_the_top_and_for_half_of_the_crops_at_the_bottom(rng):
    config = AugmentConfig(band_probability=1.0, band_kept=(0.5, 0.9), band_low=0.25)
    plan = Augmentation(config).draw(4000, 10, 20, rng)
    assert plan.band_stop.min() == 10 and plan.band_stop.max() == 18
    low = plan.band_first[plan.band_first > 0]
    assert set(low.tolist()) == {1, 2, 3, 4, 5} and abs(len(low) / 4000 - 0.5 * 5 / 6) < 0.03
    none = Augmentation(AugmentConfig(band_probability=1.0, band_low=0.0)).draw(100, 10, 20, rng)
    assert not none.band_first.any()
    narrow = Augmentation(AugmentConfig(band_probability=1.0, band_kept=(0.0, 0.1), band_low=1.0)).draw(500, 10, 20, rng)
    assert (narrow.band_first < narrow.band_stop).all()


def test_lost_bands_are_attenuated_and_the_others_stay(rng):
    frames = torch.from_numpy(rng.normal(0, 1, (3, 8, 10)).astype(np.float32))
    found = limit_bands(frames, np.array([0, 2, 0]), np.array([7, 8, 10]), np.array([3.0, 1.0, 9.0]))
    expected = frames.clone()
    expected[0, :, 7:] -= 3
    expected[1, :, :2] -= 1
    expected[1, :, 8:] -= 1
    torch.testing.assert_close(found, expected)


def test_masks_cover_at_most_what_they_may_and_leave_the_rest(rng):
    config = AugmentConfig(time_masks=1, time_mask_frames=7, frequency_masks=1, frequency_mask_bands=4)
    frames = torch.from_numpy(rng.normal(0, 1, (200, 40, 20)).astype(np.float32)) + 10
    plan = Augmentation(config).draw(200, 40, 20, rng)
    masked = mask(frames.clone(), plan.bands, plan.frames).numpy()
    hidden = masked == 0
    np.testing.assert_array_equal(masked[~hidden], frames.numpy()[~hidden])
    rows, bands = hidden.all(axis=2).sum(axis=1), hidden.all(axis=1).sum(axis=1)
    assert set(rows.tolist()) == set(range(8)) and set(bands.tolist()) == set(range(5))
    assert (hidden.sum(axis=(1, 2)) == rows * 20 + bands * 40 - rows * bands).all()
