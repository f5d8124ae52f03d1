"""The chain from stored features to network input."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.errors import ConfigError
from sv_toolkit.features.cmvn import sliding_cmvn
from sv_toolkit.features.prepare import InputConfig, normalize, offset_and_gain, prepare, select_frames


@pytest.fixture
def features(rng):
    return (5 + 3 * rng.standard_normal((80, 7))).astype(np.float32)


@pytest.fixture
def is_voiced(rng):
    return rng.random(80) < 0.6


def test_level_normalization_takes_away_the_gain_and_nothing_else(features, is_voiced):
    config = InputConfig(cmvn="level", scale=1.0)
    louder = prepare(features + np.float32(4.2), is_voiced, config)
    np.testing.assert_allclose(louder, prepare(features, is_voiced, config), atol=2e-5)
    np.testing.assert_allclose(np.diff(louder, axis=1), np.diff(features[is_voiced], axis=1), atol=2e-5)


def test_level_normalization_with_variance_gives_one_deviation_over_all_bins(features, is_voiced):
    frames = prepare(features, is_voiced, InputConfig(cmvn="level", cmvn_variance=True, scale=1.0))
    assert frames.mean() == pytest.approx(0, abs=1e-5)
    assert frames.std() == pytest.approx(1, abs=1e-5)


def test_utterance_normalization_gives_every_bin_mean_zero_and_deviation_one(features, is_voiced):
    frames = prepare(features, is_voiced, InputConfig(cmvn="utterance", cmvn_variance=True, scale=1.0))
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-5)


def test_only_voiced_frames_count_for_the_mean(features, is_voiced):
    changed = features.copy()
    changed[~is_voiced] += 100
    for cmvn in ("level", "utterance"):
        config = InputConfig(cmvn=cmvn)
        np.testing.assert_array_equal(prepare(changed, is_voiced, config), prepare(features, is_voiced, config))


def test_sliding_normalization_sees_all_frames_before_selection(features, is_voiced):
    config = InputConfig(cmvn="sliding", cmvn_window=30, scale=1.0)
    np.testing.assert_allclose(prepare(features, is_voiced, config), sliding_cmvn(features, window=30)[is_voiced], atol=1e-6)


def test_without_vad_or_with_it_switched_off_every_frame_is_kept(features, is_voiced):
    assert len(prepare(features, None, InputConfig())) == len(prepare(features, is_voiced, InputConfig(use_vad=False))) == 80


def test_a_crop_normalized_with_the_whole_utterances_numbers_is_a_crop_of_the_whole(features, is_voiced):
    config = InputConfig(cmvn="utterance", cmvn_variance=True)
    frames = select_frames(features, is_voiced, config)
    cropped = normalize(frames[5:15], *offset_and_gain(frames, config))
    np.testing.assert_array_equal(cropped, prepare(features, is_voiced, config)[5:15])


def test_an_utterance_without_speech_gives_no_frames(features):
    for cmvn in ("none", "level", "utterance", "sliding"):
        assert prepare(features, np.zeros(80, dtype=bool), InputConfig(cmvn=cmvn)).shape == (0, 7)


@pytest.mark.parametrize("options", [{"cmvn": "global"}, {"scale": 0.0}, {"cmvn_window": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError):
        InputConfig(**options)
