"""Voice activity against loops that spell out the definition, and what the detectors must not do."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sv_toolkit.errors import ConfigError, SvError
from sv_toolkit.features.fbank import FbankConfig, fbank, log_energy
from sv_toolkit.features.vad import (
    EnergyVadConfig,
    VadConfig,
    WebrtcVadConfig,
    dilated,
    energy_vad,
    finish,
    frame_log_energy,
    loudest_run,
    span,
    stored_energy,
    voice_activity,
    webrtc_vad,
)

FBANK = FbankConfig()


def buzz(num_samples, level=0.2):
    time = np.arange(num_samples) / 16000
    vibrato = 120 * time + 3 * np.sin(2 * np.pi * 4 * time)
    return (level * sum(np.sin(2 * np.pi * k * vibrato) / k for k in range(1, 25)) / 2).astype(np.float32)


def speech_in_silence(rng):
    """One second of faint noise, one of buzz, one of noise."""
    noise = (1e-4 * rng.standard_normal(48000)).astype(np.float32)
    noise[16000:32000] += buzz(16000)
    return noise


def slow_energy_vad(energy, config):
    threshold = config.energy_threshold + config.energy_mean_scale * (sum(energy) / len(energy))
    decisions = []
    for t in range(len(energy)):
        votes = [energy[s] > threshold for s in range(t - config.frames_context, t + config.frames_context + 1) if 0 <= s < len(energy)]
        decisions.append(sum(votes) >= config.proportion_threshold * len(votes))
    return decisions


@settings(max_examples=60)
@given(
    energy=st.lists(st.integers(-40, 100), min_size=1, max_size=50),
    threshold=st.integers(0, 40),
    scale=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    context=st.integers(0, 6),
    proportion=st.sampled_from([0.12, 0.5, 0.6, 1.0]),
)
def test_energy_decisions_agree_with_the_loop(energy, threshold, scale, context, proportion):
    quarters = [value / 4 for value in energy]  # their sums are exact, so that both ways see the same ties
    config = EnergyVadConfig(
        energy_threshold=threshold / 4, energy_mean_scale=scale, frames_context=context, proportion_threshold=proportion
    )
    assert energy_vad(np.array(quarters, np.float32), config).tolist() == slow_energy_vad(quarters, config)


def test_energy_finds_the_loud_second(rng):
    is_voiced = voice_activity(speech_in_silence(rng), FBANK, VadConfig(kind="energy"))
    assert is_voiced[102:196].all()
    assert not is_voiced[:96].any()
    assert not is_voiced[204:].any()


def test_a_threshold_below_the_loudest_place_does_not_depend_on_the_level(rng):
    config = EnergyVadConfig(energy_threshold=-5.0, energy_threshold_below_max=6.9)
    energy = log_energy(speech_in_silence(rng), FBANK)
    decisions = energy_vad(energy, config)
    assert (energy_vad(energy - np.float32(3), config) == decisions).all()
    assert 90 < decisions.sum() < 110


def test_silence_holds_no_speech_whatever_the_threshold_is_relative_to():
    config = VadConfig(kind="energy", min_frames=20, energy=EnergyVadConfig(energy_threshold_below_max=3.0))
    assert not voice_activity(np.zeros(16000, np.float32), FBANK, config).any()


def test_energy_of_features_follows_the_energy_of_the_samples(rng):
    samples = speech_in_silence(rng)
    from_samples, from_features = log_energy(samples, FBANK), frame_log_energy(fbank(samples, FBANK))
    assert np.corrcoef(from_samples, from_features)[0, 1] > 0.95
    assert from_features == pytest.approx(np.log(np.exp(fbank(samples, FBANK).astype(np.float64)).sum(axis=1)), abs=1e-4)


@pytest.mark.parametrize("options", [{"use_energy": True}, {"use_energy": True, "htk_compat": True}])
def test_stored_energy_is_the_energy_column_where_there_is_one(rng, options):
    config = FbankConfig(**options)
    samples = speech_in_silence(rng)
    assert stored_energy(fbank(samples, config), config) == pytest.approx(log_energy(samples, config), abs=1e-5)


def test_stored_energy_of_linear_filters_is_that_of_their_logarithms(rng):
    samples, linear = speech_in_silence(rng), FbankConfig(use_log_fbank=False)
    assert stored_energy(fbank(samples, linear), linear) == pytest.approx(stored_energy(fbank(samples, FBANK), FBANK), abs=1e-2)


def test_decisions_from_stored_features_are_those_from_the_waveform(rng):
    samples = speech_in_silence(rng)
    config = VadConfig(kind="energy", energy=EnergyVadConfig(source="features", energy_threshold=8.0))
    energy = stored_energy(fbank(samples, FBANK), FBANK)
    assert (voice_activity(samples, FBANK, config) == finish(energy_vad(energy, config.energy), energy, config)).all()


@pytest.mark.parametrize("decisions", ["", "0", "1", "0000", "0100", "1001", "0110100", "111"])
@pytest.mark.parametrize("num_frames", [0, 1, 2, 5])
def test_runs_grow_at_both_ends(decisions, num_frames):
    is_voiced = np.array([c == "1" for c in decisions], dtype=bool)
    expected = [any(is_voiced[max(t - num_frames, 0) : t + num_frames + 1]) for t in range(len(is_voiced))]
    assert dilated(is_voiced, num_frames).tolist() == expected


def test_the_span_runs_from_the_first_to_the_last_voiced_frame():
    assert span(np.array([0, 1, 0, 0, 1, 0], bool)).tolist() == [False, True, True, True, True, False]
    assert not span(np.zeros(4, bool)).any()
    assert span(np.zeros(0, bool)).shape == (0,)


@pytest.mark.parametrize("num_frames", [1, 3, 10, 40])
def test_the_loudest_run_is_found(rng, num_frames):
    energy = rng.normal(0, 1, 20).astype(np.float32)
    kept = loudest_run(energy, num_frames)
    size = min(num_frames, 20)
    best = max(range(20 - size + 1), key=lambda start: energy[start : start + size].mean())
    assert np.flatnonzero(kept).tolist() == list(range(best, best + size))


def test_too_few_voiced_frames_give_way_to_the_loudest_run(rng):
    samples = speech_in_silence(rng)
    deaf = EnergyVadConfig(energy_threshold=5.0, energy_mean_scale=10.0)
    assert not voice_activity(samples, FBANK, VadConfig(kind="energy", energy=deaf)).any()
    kept = voice_activity(samples, FBANK, VadConfig(kind="energy", min_frames=20, energy=deaf))
    assert kept.sum() == 20
    assert kept[100:198].sum() == 20


@pytest.fixture
def webrtcvad():
    return pytest.importorskip("webrtcvad", exc_type=ImportError)


def test_webrtc_finds_the_buzz(rng, webrtcvad):
    is_voiced = voice_activity(speech_in_silence(rng), FBANK, VadConfig(webrtc=WebrtcVadConfig(mode=3)))
    assert is_voiced[110:190].all()
    assert not is_voiced[:95].any()


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
@pytest.mark.parametrize("frame_ms", [10, 20, 30])
def test_webrtc_takes_the_block_of_the_frames_center(rng, webrtcvad, mode, frame_ms):
    samples = speech_in_silence(rng)[8000:40123]
    detector, size = webrtcvad.Vad(mode), 16 * frame_ms
    data = np.rint(samples * 32768).astype(np.int16)
    blocks = [detector.is_speech(data[i : i + size].tobytes(), 16000) for i in range(0, len(data) - size + 1, size)]
    num_frames = FBANK.num_frames(len(samples))
    expected = [blocks[min((160 * t + 200) // size, len(blocks) - 1)] for t in range(num_frames)]
    assert webrtc_vad(samples, 16000, num_frames, FBANK, WebrtcVadConfig(mode, frame_ms)).tolist() == expected


def test_webrtc_forgets_the_utterance_before(rng, webrtcvad):
    first, second = speech_in_silence(rng), (0.05 * rng.standard_normal(16000)).astype(np.float32)
    config = VadConfig(webrtc=WebrtcVadConfig(mode=3))
    alone = voice_activity(second, FBANK, config)
    voice_activity(first, FBANK, config)
    assert (voice_activity(second, FBANK, config) == alone).all()


def test_webrtc_clips_instead_of_wrapping_round(rng, webrtcvad):
    loud = 15 * buzz(16000)
    assert np.abs(loud).max() > 2
    config = VadConfig()
    assert (voice_activity(loud, FBANK, config) == voice_activity(loud.clip(-1, 32767 / 32768), FBANK, config)).all()


@pytest.mark.parametrize("snip_edges", [True, False])
def test_there_is_one_decision_for_each_frame(rng, webrtcvad, snip_edges):
    config = FbankConfig(snip_edges=snip_edges)
    for num_samples in (0, 100, 400, 16001):
        samples = buzz(num_samples)
        for kind in ("webrtc", "energy"):
            assert voice_activity(samples, config, VadConfig(kind=kind)).shape == (len(fbank(samples, config)),)


def test_hangover_lengthens_what_webrtc_found(rng, webrtcvad):
    samples = speech_in_silence(rng)
    plain, longer = (voice_activity(samples, FBANK, VadConfig(webrtc=WebrtcVadConfig(3, 10, hangover))) for hangover in (0, 5))
    assert (longer == dilated(plain, 5)).all()
    assert longer.sum() > plain.sum()


def test_webrtc_refuses_a_rate_that_it_does_not_know(webrtcvad):
    with pytest.raises(ConfigError, match="not at 11025 Hz; resample"):
        voice_activity(np.zeros(11025, np.float32), FbankConfig(sample_rate=11025), VadConfig())


def test_a_missing_webrtcvad_is_an_error_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    with pytest.raises(SvError, match="pip install webrtcvad-wheels"):
        voice_activity(np.zeros(16000, np.float32), FBANK, VadConfig())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: VadConfig(kind="neural"), "webrtc, energy"),
        (lambda: VadConfig(keep="all"), "voiced, span"),
        (lambda: VadConfig(min_frames=-1), "min_frames"),
        (lambda: WebrtcVadConfig(mode=4), "mode must be one of 0, 1, 2, 3"),
        (lambda: WebrtcVadConfig(frame_ms=25), "frame_ms must be one of 10, 20, 30"),
        (lambda: WebrtcVadConfig(hangover=-1), "hangover"),
        (lambda: EnergyVadConfig(source="c0"), "waveform, features"),
        (lambda: EnergyVadConfig(energy_mean_scale=-1.0), "energy_mean_scale"),
        (lambda: EnergyVadConfig(energy_threshold_below_max=0.0), "energy_threshold_below_max"),
        (lambda: EnergyVadConfig(frames_context=-1), "frames_context"),
        (lambda: EnergyVadConfig(proportion_threshold=0.0), "proportion_threshold"),
    ],
)
def test_values_out_of_range_are_refused_by_name(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
