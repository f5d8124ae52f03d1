"""The filter bank against its definition, against kaldi-native-fbank, and what must not change it."""

from __future__ import annotations

import concurrent.futures

import numpy as np
import pytest

from sv_toolkit.errors import ConfigError
from sv_toolkit.features.fbank import EPSILON, FbankConfig, fbank, log_energy

TOLERANCE = 1e-3  # two single-precision programs differ by about half of this in the quietest bins

OPTION_SETS = {
    "default": {},
    "23 filters": {"num_mel_bins": 23},
    "hamming": {"window_type": "hamming"},
    "hanning": {"window_type": "hanning"},
    "rectangular": {"window_type": "rectangular"},
    "sine": {"window_type": "sine"},
    "blackman": {"window_type": "blackman", "blackman_coeff": 0.4},
    "mirrored edges": {"snip_edges": False},
    "band limits": {"low_freq": 64.0, "high_freq": 7600.0},
    "upper limit below half the rate": {"low_freq": 0.0, "high_freq": -400.0},
    "no preemphasis": {"preemphasis_coefficient": 0.0},
    "full preemphasis, hamming": {"preemphasis_coefficient": 1.0, "window_type": "hamming"},
    "offset kept": {"remove_dc_offset": False},
    "energy": {"use_energy": True},
    "energy after the window": {"use_energy": True, "raw_energy": False, "window_type": "hamming", "remove_dc_offset": False},
    "energy, floored, last": {"use_energy": True, "energy_floor": 1e6, "htk_compat": True},
    "magnitude": {"use_power": False},
    "longer frames": {"frame_length": 0.032, "frame_shift": 0.008},
    "shorter frames, mirrored": {"frame_length": 0.020, "frame_shift": 0.005, "snip_edges": False},
}


def make_signal(rng, num_samples=8000):
    """Voiced buzz that fades in and out over noise, with an offset; values of a 16-bit recording."""
    time = np.arange(num_samples) / 16000
    buzz = sum(np.sin(2 * np.pi * 130 * k * time + k) / k for k in range(1, 40))
    samples = 0.1 * buzz * np.sin(2 * np.pi * 1.5 * time) ** 2 + 0.003 * rng.standard_normal(num_samples) + 0.02
    return (np.rint(samples * 32768).clip(-32768, 32767) / 32768).astype(np.float32)


def reference(samples, config):
    """The same features by kaldi-native-fbank."""
    knf = pytest.importorskip("kaldi_native_fbank")
    options = knf.FbankOptions()
    frame, mel = options.frame_opts, options.mel_opts
    frame.samp_freq, frame.dither = config.sample_rate, 0.0
    frame.frame_length_ms, frame.frame_shift_ms = config.frame_length * 1000, config.frame_shift * 1000
    frame.preemph_coeff, frame.remove_dc_offset = config.preemphasis_coefficient, config.remove_dc_offset
    frame.window_type, frame.blackman_coeff = config.window_type, config.blackman_coeff
    frame.round_to_power_of_two, frame.snip_edges = config.round_to_power_of_two, config.snip_edges
    mel.num_bins, mel.low_freq, mel.high_freq = config.num_mel_bins, config.low_freq, config.high_freq
    options.use_energy, options.raw_energy, options.energy_floor = config.use_energy, config.raw_energy, config.energy_floor
    options.htk_compat, options.use_log_fbank, options.use_power = config.htk_compat, config.use_log_fbank, config.use_power
    extractor = knf.OnlineFbank(options)
    extractor.accept_waveform(config.sample_rate, samples * np.float32(32768))
    extractor.input_finished()
    return np.stack([extractor.get_frame(i) for i in range(extractor.num_frames_ready)])


def mirrored(index, num_samples):
    """The sample that stands for one beyond the ends."""
    while not 0 <= index < num_samples:
        index = -index - 1 if index < 0 else 2 * num_samples - 1 - index
    return index


def definition(samples, config):
    """Frame by frame and filter by filter, in double precision."""
    x = samples.astype(np.float64) * 32768
    size, shift, rows = config.length_samples, config.shift_samples, []
    first = 0 if config.snip_edges else shift // 2 - size // 2
    num_frames = (len(x) - size) // shift + 1 if config.snip_edges else (len(x) + shift // 2) // shift
    for t in range(num_frames):
        frame = np.array([x[mirrored(first + t * shift + n, len(x))] for n in range(size)])
        if config.remove_dc_offset:
            frame -= frame.mean()
        raw_energy = (frame**2).sum()
        before = np.concatenate([frame[:1], frame[:-1]])
        frame = (frame - config.preemphasis_coefficient * before) * config.window()
        energy = raw_energy if config.raw_energy else (frame**2).sum()
        magnitudes = np.abs(np.fft.rfft(frame, config.transform_size))
        row = (magnitudes**2 if config.use_power else magnitudes)[: config.transform_size // 2] @ config.mel_filters()
        row = np.log(np.maximum(row, EPSILON)) if config.use_log_fbank else row
        extra = [np.log(max(energy, EPSILON, config.energy_floor))] if config.use_energy else []
        rows.append([*row, *extra] if config.htk_compat else [*extra, *row])
    return np.array(rows)


@pytest.mark.parametrize("options", OPTION_SETS.values(), ids=OPTION_SETS.keys())
def test_features_agree_with_the_definition(rng, options):
    samples, config = make_signal(rng), FbankConfig(**options)
    assert fbank(samples, config) == pytest.approx(definition(samples, config), abs=TOLERANCE)


@pytest.mark.parametrize("options", OPTION_SETS.values(), ids=OPTION_SETS.keys())
def test_features_agree_with_kaldi_native_fbank(rng, options):
    samples, config = make_signal(rng), FbankConfig(**options)
    assert fbank(samples, config) == pytest.approx(reference(samples, config), abs=TOLERANCE)


@pytest.mark.parametrize("options", OPTION_SETS.values(), ids=OPTION_SETS.keys())
def test_features_of_real_recordings_agree_with_kaldi_native_fbank(corpora, options):
    soundfile = pytest.importorskip("soundfile")
    config = FbankConfig(**options)
    files = sorted((corpora / "an4" / "wav").glob("*/*/*.flac"))[:: 1078 // 6]
    for file in files:
        samples, rate = soundfile.read(file, dtype="float32")
        assert rate == config.sample_rate
        assert np.abs(fbank(samples, config) - reference(samples, config)).max() < TOLERANCE, file.name


@pytest.mark.parametrize("rate, options", [(8000, {}), (8000, {"num_mel_bins": 30, "high_freq": 3700.0}), (44100, {"num_mel_bins": 80})])
def test_features_at_other_rates_agree_with_kaldi_native_fbank(rng, rate, options):
    config = FbankConfig(sample_rate=rate, window_type="hamming", **options)
    samples = (0.1 * rng.standard_normal(rate // 2)).astype(np.float32)
    assert fbank(samples, config) == pytest.approx(reference(samples, config), abs=TOLERANCE)


def test_transform_without_padding_agrees_with_the_definition(rng):
    config = FbankConfig(round_to_power_of_two=False)
    samples = make_signal(rng)
    assert config.transform_size == 400
    assert fbank(samples, config) == pytest.approx(definition(samples, config), abs=TOLERANCE)


def test_linear_filters_agree_with_the_definition_in_proportion(rng):
    config = FbankConfig(use_log_fbank=False)
    samples = make_signal(rng)
    assert fbank(samples, config) == pytest.approx(definition(samples, config), rel=1e-3)


def test_gain_adds_the_same_to_all_bins(rng):
    samples = make_signal(rng) + np.float32(0.05) * rng.standard_normal(8000).astype(np.float32)
    assert fbank(samples / 4, FbankConfig()) == pytest.approx(fbank(samples, FbankConfig()) - 2 * np.log(4), abs=TOLERANCE)


def test_an_offset_of_the_waveform_does_not_matter(rng):
    samples = (0.1 * rng.standard_normal(4000)).astype(np.float32)
    assert fbank(samples + np.float32(0.25), FbankConfig()) == pytest.approx(fbank(samples, FbankConfig()), abs=TOLERANCE)


@pytest.mark.parametrize("skipped", [1, 50, 127, 128, 129, 200])
def test_a_frame_does_not_depend_on_where_the_waveform_begins(rng, skipped):
    samples = (0.1 * rng.standard_normal(300 * 160 + 240)).astype(np.float32)
    whole = fbank(samples, FbankConfig())
    assert fbank(samples[skipped * 160 :], FbankConfig()) == pytest.approx(whole[skipped:], abs=1e-4)


def test_other_configurations_in_between_leave_no_trace(rng):
    samples = make_signal(rng)
    first = fbank(samples, FbankConfig())
    fbank(samples * 2, FbankConfig(round_to_power_of_two=False, frame_length=0.02))
    fbank(samples[:1000], FbankConfig())
    assert (fbank(samples, FbankConfig()) == first).all()


def test_threads_do_not_disturb_each_other(rng):
    signals = [(0.1 * rng.standard_normal(20_000)).astype(np.float32) for _ in range(16)]
    alone = [fbank(samples, FbankConfig()) for samples in signals]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda samples: fbank(samples, FbankConfig()), signals))
    assert all((one == other).all() for one, other in zip(alone, together))


def test_the_waveform_is_not_changed_and_may_be_any_view_or_number(rng):
    samples = make_signal(rng)
    kept = samples.copy()
    features = fbank(samples, FbankConfig())
    assert (samples == kept).all()
    wide = np.stack([samples, -samples], axis=1)
    assert (fbank(wide[:, 0], FbankConfig()) == features).all()
    assert (fbank(samples.astype(np.float64), FbankConfig()) == features).all()
    assert features.dtype == np.float32


@pytest.mark.parametrize("num_samples", [0, 1, 79, 80, 399, 400, 559, 560, 16000])
@pytest.mark.parametrize("snip_edges", [True, False])
def test_the_number_of_frames_is_kaldis(rng, num_samples, snip_edges):
    config = FbankConfig(snip_edges=snip_edges)
    expected = max(0, 1 + (num_samples - 400) // 160) if snip_edges else (num_samples + 80) // 160
    samples = rng.uniform(-0.5, 0.5, num_samples).astype(np.float32)
    assert fbank(samples, config).shape == (expected, 40)
    assert log_energy(samples, config).shape == (expected,)
    assert config.num_frames(num_samples) == expected


def test_silence_gives_the_floor():
    features = fbank(np.zeros(1600, np.float32), FbankConfig(use_energy=True))
    assert features == pytest.approx(np.full(features.shape, np.log(EPSILON)))


@pytest.mark.parametrize("snip_edges", [True, False])
def test_log_energy_is_the_energy_column(rng, snip_edges):
    samples, config = make_signal(rng), FbankConfig(use_energy=True, snip_edges=snip_edges)
    assert log_energy(samples, config) == pytest.approx(fbank(samples, config)[:, 0], abs=1e-5)


def test_dither_is_repeatable_and_as_loud_as_it_says():
    config = FbankConfig(dither=2.0, use_energy=True)
    silence = np.zeros(16000, np.float32)
    once, again, other = (fbank(silence, config, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (once == again).all()
    assert not (once == other).any()
    assert np.exp(once[:, 0]).mean() == pytest.approx(399 * 2.0**2, rel=0.05)  # the mean of a frame takes one degree of freedom


def test_dither_without_a_generator_is_refused():
    with pytest.raises(ValueError, match="random generator"):
        fbank(np.zeros(1600, np.float32), FbankConfig(dither=1.0))


def test_two_channels_are_refused():
    with pytest.raises(ValueError, match=r"one axis.*\(1600, 2\)"):
        fbank(np.zeros((1600, 2), np.float32), FbankConfig())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sample_rate": 0}, "sample_rate"),
        ({"frame_length": 0.0}, "frame_length"),
        ({"frame_length": 25.0}, "in seconds"),
        ({"frame_shift": 0.0}, "frame_shift"),
        ({"frame_shift": -0.01}, "frame_shift"),
        ({"window_type": "hann"}, "povey, hamming, hanning.*'hann'"),
        ({"preemphasis_coefficient": 1.5}, "preemphasis_coefficient"),
        ({"dither": -1.0}, "dither"),
        ({"energy_floor": -1.0}, "energy_floor"),
        ({"num_mel_bins": 2}, "num_mel_bins must be at least 3"),
        ({"num_mel_bins": 200}, "num_mel_bins 200 is too large"),
        ({"low_freq": 9000.0}, "low_freq"),
        ({"low_freq": -1.0}, "low_freq"),
        ({"high_freq": 9000.0}, "8000 Hz"),
        ({"high_freq": -8000.0}, "high_freq"),
        ({"vtln_warp": 0.0}, "vtln_warp"),
        ({"vtln_warp": 1.1, "vtln_low": 10.0}, "vtln_low"),
    ],
)
def test_values_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(ConfigError, match=message):
        FbankConfig(**options)
