"""Noise in the mel domain: powers add, the ratio is the one asked for, normalisation follows."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import ConfigError, ModelError
from sv_toolkit.features.fbank import fbank
from sv_toolkit.features.fbank_config import FbankConfig
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.training.augment import Augment, load_disturbances, mask, mix_noise, response_powers, reverberate
from sv_toolkit.training.config import AugmentConfig
from sv_toolkit.training.examples import load_examples


@pytest.mark.parametrize("snr", [-5.0, 0.0, 17.0])
def test_mixed_power_is_the_sum_at_the_ratio_asked_for(rng, snr):
    speech, noise = rng.normal(8, 3, (40, 5)), rng.normal(2, 1, (40, 5))
    added = np.exp(mix_noise(speech, noise, snr)) - np.exp(speech)
    assert (added > 0).all()
    assert 10 * np.log10(np.exp(speech).mean() / added.mean()) == pytest.approx(snr, abs=1e-3)
    np.testing.assert_allclose(added / np.exp(noise), np.full((40, 5), (added / np.exp(noise))[0, 0]), rtol=1e-3)


def test_silent_noise_changes_nothing(rng):
    speech = rng.normal(8, 3, (40, 5))
    np.testing.assert_allclose(mix_noise(speech, rng.normal(2, 1, (40, 5)), snr=200.0), speech, atol=1e-6)


@pytest.mark.parametrize("cmvn", ["level", "utterance"])
def test_a_noisy_crop_of_the_whole_utterance_is_normalized_as_a_noisy_utterance(data, cmvn, rng):
    examples = load_examples(FeatureIndex(data, need_vad=True), InputConfig(cmvn=cmvn, scale=1.0), 5, 2, 0)
    augment = Augment(AugmentConfig(1.0, (0.0, 0.0)), [rng.normal(0, 1, (200, 6)).astype(np.float32)])
    utterance = examples.by_speaker[0][0]
    piece = augment(examples, utterance, (0, examples.num_frames[utterance]), rng)
    mean = piece.mean(axis=0) if cmvn == "utterance" else piece.mean()
    np.testing.assert_allclose(mean, 0, atol=1e-4)


def test_without_noise_crops_come_through_unchanged(data, rng):
    examples = load_examples(FeatureIndex(data, need_vad=True), InputConfig(), 5, 2, 0)
    utterance = examples.by_speaker[0][0]
    piece = Augment(AugmentConfig(1.0))(examples, utterance, (2, 12), rng)
    np.testing.assert_array_equal(piece, examples.crop(utterance, 2, 12))


def test_noise_of_another_width_or_under_sliding_normalization_is_refused(data, monkeypatch):
    index, wide = FeatureIndex(data, need_vad=False), FeatureIndex(data, need_vad=False)
    monkeypatch.setattr(wide, "dim", 40)
    with pytest.raises(ModelError, match="6 columns, the training data needs 40"):
        load_disturbances(index, wide, "level")
    with pytest.raises(ConfigError, match="sliding"):
        load_disturbances(index, index, "sliding")


def test_noise_is_not_mixed_into_cepstra(data, say_how):
    say_how(data, "mfcc", num_ceps=6)
    index = FeatureIndex(data, need_vad=False)
    with pytest.raises(ConfigError, match="features are mfcc; noise and rooms need the mel powers"):
        load_disturbances(index, index, "level")


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
    level = wet.mean() - reverberate(dry, kernel).mean()
    assert np.abs(reverberate(dry, kernel) + level - wet).mean() < 0.4 * np.abs(dry - dry.mean() + wet.mean() - wet).mean()


def test_a_response_of_one_frame_leaves_speech_as_it_was(rng):
    speech = rng.normal(8, 3, (40, 5))
    np.testing.assert_allclose(reverberate(speech, np.ones((1, 5))), speech, atol=1e-6)


def test_a_room_adds_the_powers_of_earlier_frames(rng):
    speech, response = rng.normal(2, 1, (12, 3)), rng.random((4, 3))
    slow = np.array([[sum(response[d, b] * np.exp(speech[t - d, b]) for d in range(min(t + 1, 4))) for b in range(3)] for t in range(12)])
    np.testing.assert_allclose(np.exp(reverberate(speech, response)), slow, rtol=1e-6)


def test_a_crop_hears_what_was_said_before_it(data, rng):
    examples = load_examples(FeatureIndex(data, need_vad=True), InputConfig(cmvn="none", scale=1.0), 5, 2, 0)
    utterance = examples.by_speaker[0][0]
    augment = Augment(AugmentConfig(reverb_probability=1.0), responses=[np.full((5, 6), 0.2)])
    whole = augment(examples, utterance, (0, 20), np.random.default_rng(0))
    part = augment(examples, utterance, (8, 20), np.random.default_rng(0))
    np.testing.assert_allclose(part, whole[8:], rtol=1e-5)


def test_masks_cover_at_most_what_they_may_and_leave_the_rest(rng):
    frames = rng.normal(0, 1, (40, 20)) + 10
    config = AugmentConfig(time_masks=1, time_mask_frames=7, frequency_masks=1, frequency_mask_bands=4)
    widths = set()
    for _ in range(200):
        masked = mask(frames, config, rng)
        hidden = masked == 0
        np.testing.assert_array_equal(masked[~hidden], frames[~hidden])
        rows, bands = hidden.all(axis=1).sum(), hidden.all(axis=0).sum()
        assert rows <= 7 and bands <= 4 and hidden.sum() == rows * 20 + bands * 40 - rows * bands
        widths.add((rows > 0, bands > 0))
    assert (True, True) in widths
    assert (frames > 5).all()
