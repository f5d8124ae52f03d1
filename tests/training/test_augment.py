"""Noise in the mel domain: powers add, the ratio is the one asked for, normalisation follows."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import ConfigError
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.training.augment import Augment, load_disturbances, mix_noise
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


def test_noise_of_another_width_or_under_sliding_normalization_is_refused(data):
    index = FeatureIndex(data, need_vad=False)
    with pytest.raises(ConfigError, match="6 columns, the training data has 40"):
        load_disturbances(index, 40, "level")
    with pytest.raises(ConfigError, match="sliding"):
        load_disturbances(index, 6, "sliding")
