"""Features in the graph are the toolkit's features, whatever the options."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from sv_toolkit.export.front_end import features_of, frames_of, log_energy  # noqa: E402
from sv_toolkit.export.graph import Graph  # noqa: E402
from sv_toolkit.features.fbank import FbankConfig, fbank  # noqa: E402
from sv_toolkit.features.fbank import log_energy as reference_energy  # noqa: E402
from sv_toolkit.features.mfcc import MfccConfig, mfcc  # noqa: E402
from sv_toolkit.io.audio import AudioRequest, read_waveform  # noqa: E402

CONFIGS = [
    FbankConfig(),
    FbankConfig(sample_rate=8000, num_mel_bins=23, window_type="hamming", preemphasis_coefficient=0.0, remove_dc_offset=False),
    FbankConfig(snip_edges=False, use_energy=True, round_to_power_of_two=False, low_freq=80, high_freq=-200),
    FbankConfig(use_energy=True, raw_energy=False, htk_compat=True, energy_floor=1e6, window_type="blackman"),
    FbankConfig(use_power=False, use_log_fbank=False, frame_length=0.032, frame_shift=0.0125),
    FbankConfig(vtln_warp=1.1, frame_shift=0.03, num_mel_bins=30),  # longer than a frame
    MfccConfig(),
    MfccConfig(use_energy=False, htk_compat=True, num_ceps=20, cepstral_lifter=0),
    MfccConfig(htk_compat=True, snip_edges=False, raw_energy=False),
]


def sound(rng, num_samples):
    """Harmonics and noise that fade in and out, beside zero."""
    time = np.arange(num_samples) / 16000
    harmonics = np.sin(np.outer(2 * np.pi * 140 * np.arange(1, 20), time)).sum(axis=0)
    return ((0.03 * harmonics + 0.01 * rng.standard_normal(num_samples)) * np.sin(9 * time) ** 2 + 0.1).astype(np.float32)


def graph_of(config):
    graph = Graph()
    frames = frames_of(graph.input("waveform", np.float32, ["num_samples"]), config)
    graph.output("features", features_of(frames, config), ["num_frames", config.dim])
    graph.output("energy", log_energy(frames, config), ["num_frames"])
    graph.output("count", frames.num_frames, [])
    return graph


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_features_agree(config, run, rng):
    graph, compute = graph_of(config), mfcc if isinstance(config, MfccConfig) else fbank
    for num_samples in (config.length_samples, 16000, 5555):
        samples = sound(rng, num_samples)
        features, energy, count = run(graph, waveform=samples)
        expected = compute(samples, config)
        scale = 1 if config.use_log_fbank else expected.max()
        assert count == len(expected) == len(features)
        np.testing.assert_allclose(features / scale, expected / scale, atol=1e-3)
        np.testing.assert_allclose(energy, reference_energy(samples, config), atol=1e-4)


@pytest.mark.parametrize("num_samples", [0, 1, 79, 399])
@pytest.mark.parametrize("snip_edges", [True, False])
def test_too_short_waveforms_have_as_many_frames_as_they_have(num_samples, snip_edges, run, rng):
    config = FbankConfig(snip_edges=snip_edges)
    samples = sound(rng, num_samples)
    features, _, count = run(graph_of(config), waveform=samples)
    expected = fbank(samples, config)
    assert count == len(expected)
    assert len(features) == max(len(expected), 1)
    np.testing.assert_allclose(features[: len(expected)], expected, atol=1e-3)


def definition(samples, config):
    """Log-mel energies in double precision, frame by frame."""
    rows = []
    for start in range(0, len(samples) - config.length_samples + 1, config.shift_samples):
        frame = samples[start : start + config.length_samples].astype(np.float64) * 32768
        frame = frame - frame.mean()
        emphasized = frame - config.preemphasis_coefficient * np.append(frame[0], frame[:-1])
        power = np.abs(np.fft.rfft(emphasized * config.window(), config.transform_size)[:-1]) ** 2
        rows.append(np.log(np.maximum(power @ config.mel_filters(), np.finfo(np.float32).eps)))
    return np.array(rows)


@pytest.mark.parametrize(("folder", "config"), [("an4/wav", FbankConfig()), ("wuw_keywords", FbankConfig(8000, num_mel_bins=23))])
def test_features_of_real_recordings_agree_with_the_definition(folder, config, corpora, run):
    graph = graph_of(config)
    for path in sorted((corpora / folder).rglob("*.flac"))[::200]:
        samples = read_waveform(AudioRequest(str(path), "", "", sample_rate=config.sample_rate)).samples
        np.testing.assert_allclose(run(graph, waveform=samples)[0], definition(samples, config), atol=1e-3)
