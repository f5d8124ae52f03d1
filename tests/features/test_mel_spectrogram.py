"""Mel spectrograms as librosa's, held to a slow definition in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sv_toolkit.errors import ConfigError
from sv_toolkit.features.mel_spectrogram import MelSpectrogramConfig, mel_spectrogram, mel_weights, slaney_hertz, slaney_mel, without_pauses

PLAIN = MelSpectrogramConfig(log="none", tail=2)


@pytest.fixture
def wave(rng):
    return rng.normal(scale=0.05, size=4321).astype(np.float32)


def slow_mel(hertz):
    """Linear to 1 kHz at 15, then 27 steps to each factor of 6.4."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


def slow_hertz(mel):
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def slow(samples, bands=40, rate=16000, size=400, shift=160):
    """Every frame, bin and filter by itself: power, Slaney's scale, filters of equal area."""
    samples, top = [float(x) for x in samples], slow_mel(rate / 2)
    edges = [slow_hertz(top * i / (bands + 1)) for i in range(bands + 2)]
    rows = []
    for frame in range(len(samples) // shift + 3):
        first = frame * shift - size // 2
        cut = np.array([samples[n] if 0 <= n < len(samples) else 0.0 for n in range(first, first + size)])
        cut *= [0.5 - 0.5 * math.cos(2 * math.pi * n / size) for n in range(size)]
        turns = np.exp(-2j * math.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size)
        power = np.abs(turns @ cut) ** 2
        row = []
        for left, center, right in zip(edges, edges[1:], edges[2:]):
            bins = np.arange(size // 2 + 1) * rate / size
            weights = [max(0, min((f - left) / (center - left), (right - f) / (right - center))) * 2 / (right - left) for f in bins]
            row.append(power @ weights)
        rows.append(row)
    return np.array(rows)


def test_it_is_the_slow_definition(wave):
    expected = slow(wave)
    found = mel_spectrogram(wave, PLAIN)
    assert found.shape == expected.shape == (4321 // 160 + 3, 40)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-12)


def test_it_is_librosas(wave):
    librosa = pytest.importorskip("librosa")
    expected = librosa.feature.melspectrogram(y=wave, sr=16000, n_fft=400, hop_length=160, n_mels=40).T
    np.testing.assert_allclose(mel_spectrogram(wave, MelSpectrogramConfig(log="none")), expected, rtol=1e-4, atol=1e-9)


def test_the_tail_sees_all_of_the_end(rng):
    """Two frames more reach every sample that frames of 25 ms can see; a third one would be zero."""
    for size in range(1600, 1760, 7):
        samples = rng.normal(size=size).astype(np.float32)
        found = mel_spectrogram(samples, MelSpectrogramConfig(log="none", tail=3))
        assert not found[-1].any()
        assert found[-3].any()


def test_slaneys_scale_has_an_inverse():
    hertz = np.linspace(0, 8000, 200)
    np.testing.assert_allclose(slaney_hertz(slaney_mel(hertz)), hertz, atol=1e-9)
    np.testing.assert_allclose(slaney_mel(hertz), [slow_mel(one) for one in hertz], atol=1e-12)


def test_filters_of_equal_area_or_of_equal_peaks():
    fine = {norm: mel_weights(MelSpectrogramConfig(frame_length=1.0, mel_norm=norm)) for norm in ("area", "none")}
    np.testing.assert_allclose(fine["area"].sum(axis=0), 1, rtol=0.02)
    np.testing.assert_allclose(fine["none"].max(axis=0), 1, atol=0.05)


def test_logarithms_and_their_range(wave):
    wave[2000:] = 0
    power = mel_spectrogram(wave, PLAIN)
    floored = np.maximum(power, 1e-10)
    np.testing.assert_allclose(mel_spectrogram(wave, MelSpectrogramConfig(log="ln", tail=2)), np.log(floored), atol=1e-5)
    found = mel_spectrogram(wave, MelSpectrogramConfig(log="db", range_db=30, tail=2))
    np.testing.assert_allclose(found, np.maximum(10 * np.log10(floored), 10 * np.log10(power.max()) - 30), atol=1e-4)
    assert found.min() == pytest.approx(found.max() - 30, abs=1e-4)


@pytest.mark.parametrize(("only", "loud_stays"), [(True, True), (False, False)])
def test_the_gain_raises_and_lowers_as_asked(wave, only, loud_stays):
    config = MelSpectrogramConfig(log="none", level_db=-30, level_increase_only=only)
    plain = MelSpectrogramConfig(log="none")
    level = 10 * np.log10(np.mean(wave.astype(np.float64) ** 2))
    gain = 10 ** ((-30 - level) / 10)  # of powers
    assert gain < 1
    expected = mel_spectrogram(wave, plain) * (1 if loud_stays else gain)
    np.testing.assert_allclose(mel_spectrogram(wave, config), expected, rtol=1e-4)
    np.testing.assert_allclose(mel_spectrogram(wave / 100, config), mel_spectrogram(wave, plain) * gain, rtol=1e-4)


def test_silence_stays_silence_and_nothing_gives_nothing():
    config = MelSpectrogramConfig(log="none", level_db=-30)
    assert not mel_spectrogram(np.zeros(1600, np.float32), config).any()
    assert mel_spectrogram(np.zeros(0, np.float32), config).shape == (0, 40)


def test_long_pauses_are_cut_out_and_short_ones_stay(write_voice):
    pytest.importorskip("webrtcvad")
    from sv_toolkit.io.audio import AudioRequest, read_waveform

    path = write_voice("pauses", 120, 1.0)
    voice = read_waveform(AudioRequest(str(path), "", "pauses")).samples
    long = without_pauses(np.concatenate([voice, np.zeros(48000, np.float32), voice]), 16000)
    short = without_pauses(np.concatenate([voice, np.zeros(1600, np.float32), voice]), 16000)
    assert len(long) < 2 * len(voice) + 16000
    assert len(short) > 1.5 * len(voice)
    assert len(without_pauses(np.zeros(16000, np.float32), 16000)) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mel_scale": "bark"}, "mel_scale"),
        ({"range_db": 80.0}, "range_db needs log"),
        ({"high_freq": 9000.0}, "high_freq"),
        ({"trim_pauses": True, "sample_rate": 22050}, "trim_pauses needs"),
        ({"frame_shift": 1e-6}, "at least one sample"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MelSpectrogramConfig(**options)
