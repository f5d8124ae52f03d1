"""Cepstra against kaldi-native-fbank, against their definition, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.errors import ConfigError
from sv_toolkit.features.fbank import FbankConfig, fbank, log_energy
from sv_toolkit.features.mfcc import MfccConfig, mfcc

TOLERANCE = 1e-3

OPTION_SETS = {
    "default": {},
    "20 of 30 bins": {"num_ceps": 20, "num_mel_bins": 30},
    "24 of 24": {"num_ceps": 24, "num_mel_bins": 24},
    "no energy": {"use_energy": False},
    "no energy, no lifter": {"use_energy": False, "cepstral_lifter": 0.0},
    "other lifter": {"cepstral_lifter": 15.0},
    "energy after the window": {"raw_energy": False},
    "energy, floored": {"energy_floor": 1e6},
    "htk order": {"htk_compat": True},
    "htk order, no energy": {"htk_compat": True, "use_energy": False},
    "hamming": {"window_type": "hamming"},
    "mirrored edges": {"snip_edges": False},
    "band limits": {"low_freq": 64.0, "high_freq": 7600.0},
    "upper limit below half the rate": {"low_freq": 20.0, "high_freq": -400.0, "num_ceps": 20, "num_mel_bins": 40},
    "offset kept, no preemphasis": {"remove_dc_offset": False, "preemphasis_coefficient": 0.0},
}
each_option_set = pytest.mark.parametrize("options", OPTION_SETS.values(), ids=OPTION_SETS.keys())


def reference(samples, config):
    """The same features by kaldi-native-fbank."""
    knf = pytest.importorskip("kaldi_native_fbank")
    options = knf.MfccOptions()
    frame, mel = options.frame_opts, options.mel_opts
    frame.samp_freq, frame.dither = config.sample_rate, 0.0
    frame.frame_length_ms, frame.frame_shift_ms = config.frame_length * 1000, config.frame_shift * 1000
    frame.preemph_coeff, frame.remove_dc_offset = config.preemphasis_coefficient, config.remove_dc_offset
    frame.window_type, frame.snip_edges = config.window_type, config.snip_edges
    mel.num_bins, mel.low_freq, mel.high_freq = config.num_mel_bins, config.low_freq, config.high_freq
    options.num_ceps, options.cepstral_lifter, options.htk_compat = config.num_ceps, config.cepstral_lifter, config.htk_compat
    options.use_energy, options.raw_energy, options.energy_floor = config.use_energy, config.raw_energy, config.energy_floor
    extractor = knf.OnlineMfcc(options)
    extractor.accept_waveform(config.sample_rate, samples * np.float32(32768))
    extractor.input_finished()
    return np.stack([extractor.get_frame(i) for i in range(extractor.num_frames_ready)])


def make_signal(rng, num_samples=8000):
    time = np.arange(num_samples) / 16000
    buzz = sum(np.sin(2 * np.pi * 130 * k * time + k) / k for k in range(1, 40))
    samples = 0.1 * buzz * np.sin(2 * np.pi * 1.5 * time) ** 2 + 0.003 * rng.standard_normal(num_samples) + 0.02
    return (np.rint(samples * 32768).clip(-32768, 32767) / 32768).astype(np.float32)


def cosine_sum(log_mel, number):
    """Coefficient `number` of the orthonormal cosine transform of one frame, term by term."""
    size = len(log_mel)
    total = sum(value * np.cos(np.pi * number * (i + 0.5) / size) for i, value in enumerate(log_mel))
    return total * np.sqrt((1 if number == 0 else 2) / size)


@each_option_set
def test_cepstra_of_real_recordings_agree_with_kaldi_native_fbank(corpora, options):
    soundfile = pytest.importorskip("soundfile")
    config = MfccConfig(**options)
    files = sorted((corpora / "an4" / "wav").glob("*/*/*.flac"))[:: 1078 // 6]
    assert files
    for file in files:
        samples, rate = soundfile.read(file, dtype="float32")
        assert rate == config.sample_rate
        assert np.abs(mfcc(samples, config) - reference(samples, config)).max() < TOLERANCE, file.name


@each_option_set
def test_cepstra_agree_with_kaldi_native_fbank(rng, options):
    samples, config = make_signal(rng), MfccConfig(**options)
    assert mfcc(samples, config) == pytest.approx(reference(samples, config), abs=TOLERANCE)


@pytest.mark.parametrize("q", [0.0, 22.0])
def test_cepstra_agree_with_the_definition(rng, q):
    samples = make_signal(rng, 4000)
    log_mel = fbank(samples, FbankConfig(num_mel_bins=23))
    expected = [[cosine_sum(row, n) * (1 + q / 2 * np.sin(np.pi * n / q) if q else 1) for n in range(13)] for row in log_mel]
    assert mfcc(samples, MfccConfig(use_energy=False, cepstral_lifter=q)) == pytest.approx(np.array(expected), abs=1e-4)


def test_all_cepstra_without_lifter_are_a_rotation_of_the_log_mel_energies(rng):
    config = MfccConfig(num_ceps=23, use_energy=False, cepstral_lifter=0.0)
    samples = make_signal(rng)
    restored = mfcc(samples, config) @ config.cosine_transform.T
    assert restored == pytest.approx(fbank(samples, FbankConfig(num_mel_bins=23)), abs=1e-3)


@pytest.mark.parametrize("options", [{}, {"use_energy": False}, {"htk_compat": True}, {"htk_compat": True, "use_energy": False}])
def test_a_gain_changes_the_energy_column_alone(rng, options):
    samples, config = make_signal(rng) + np.float32(0.05) * rng.standard_normal(8000).astype(np.float32), MfccConfig(**options)
    change = mfcc(samples / 4, config) - mfcc(samples, config)
    others = np.delete(np.arange(config.dim), config.energy_column)
    assert change[:, others] == pytest.approx(np.zeros((len(change), len(others))), abs=TOLERANCE)
    assert (change[:, config.energy_column] < -1).all()


def test_the_energy_column_is_the_log_energy(rng):
    samples, config = make_signal(rng), MfccConfig()
    assert mfcc(samples, config)[:, 0] == pytest.approx(log_energy(samples, config.filter_bank), abs=1e-5)


@pytest.mark.parametrize("num_samples, num_frames", [(0, 0), (399, 0), (400, 1), (16000, 98)])
def test_shape_and_kind_of_the_result(rng, num_samples, num_frames):
    cepstra = mfcc(0.1 * rng.standard_normal(num_samples), MfccConfig(num_ceps=20))
    assert cepstra.shape == (num_frames, 20)
    assert cepstra.dtype == np.float32


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_ceps": 0}, "num_ceps must lie in"),
        ({"num_ceps": 24}, "got 24 with 23 mel bins"),
        ({"cepstral_lifter": -1.0}, "cepstral_lifter"),
        ({"use_log_fbank": False}, "use_log_fbank must stay true"),
        ({"frame_shift": 0.0}, "frame_shift"),
    ],
)
def test_values_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(ConfigError, match=message):
        MfccConfig(**options)
