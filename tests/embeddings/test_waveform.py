"""A waveform to its d-vector: what the commands give, one-line errors, warnings."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from sv_toolkit.config import as_table
from sv_toolkit.embeddings.loading import read_embeddings
from sv_toolkit.embeddings.waveform import Embedder, clipped_share
from sv_toolkit.errors import AudioError, ModelError
from sv_toolkit.features.fbank import FbankConfig
from sv_toolkit.features.mfcc import MfccConfig
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.features.vad import EnergyVadConfig, VadConfig
from sv_toolkit.io.tables import write_table


def run(name, *arguments):
    import importlib

    from sv_toolkit.cli import COMMANDS

    command = importlib.import_module("sv_toolkit.cli." + COMMANDS[name]).command
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr


FRONT_ENDS = {
    "fbank, energy of samples": ("fbank", FbankConfig(num_mel_bins=20, window_type="hamming", snip_edges=False), None, InputConfig()),
    "fbank, energy of features": (
        "fbank",
        FbankConfig(num_mel_bins=24, low_freq=60.0),
        VadConfig(kind="energy", energy=EnergyVadConfig(source="features", energy_threshold_below_max=6.9)),
        InputConfig("utterance", cmvn_variance=True),
    ),
    "mfcc, webrtc": ("mfcc", MfccConfig(num_ceps=12), VadConfig(), InputConfig("sliding", cmvn_window=50)),
    "8 kHz, no vad": ("fbank", FbankConfig(8000, num_mel_bins=15), None, InputConfig("level", use_vad=False)),
}


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_the_vector_is_the_one_that_the_commands_make(name, voice_model, write_voice, tmp_path):
    kind, config, vad, input_config = FRONT_ENDS[name]
    if vad is not None and vad.kind == "webrtc":
        pytest.importorskip("webrtcvad")
    model = voice_model(config=config, vad=vad, input_config=input_config, kind=kind)
    description = json.loads((model / "model.json").read_text())
    wavs = {f"s{i}-u": write_voice(f"u{i}", 90 + 50 * i, 0.8 + 0.7 * i) for i in range(3)}
    data = tmp_path / "data"
    data.mkdir()
    write_table(data / "wav.scp", {key: str(path) for key, path in wavs.items()})
    write_table(data / "utt2spk", {key: key[:2] for key in wavs})
    (tmp_path / "features.json").write_text(
        json.dumps({kind: as_table(config), "vad": description["features"]["vad"]["config"]}), encoding="utf-8"
    )
    run(f"sv-extract-{kind}", "--config", tmp_path / "features.json", "--resample", "--nj", 1, data)
    if input_config.use_vad:
        run("sv-compute-vad", "--config", tmp_path / "features.json", "--nj", 1, "--resample", data)
    run("sv-extract-dvector", "--nj", 1, model, data, tmp_path / "out")
    stored = read_embeddings(tmp_path / "out" / "dvector.scp")
    embedder = Embedder(model)
    for key, path in wavs.items():
        assert embedder.embed_file(path).vector == pytest.approx(stored.vectors[stored.row[key]], abs=1e-6)
    assert embedder.digest == stored.model


def test_a_model_that_does_not_say_its_features_takes_no_recordings(voice_model):
    model = voice_model()
    content = json.loads((model / "model.json").read_text())
    for removed, missing in (("vad", "voice activity"), ("fbank", "features")):
        content["features"].pop(removed)
        (model / "model.json").write_text(json.dumps(content))
        with pytest.raises(ModelError, match=f"does not say how its {missing} were made"):
            Embedder(model)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(16_000), "silent: all 16000 samples are 0"),
        (np.zeros(100), "too short: 6.2 ms of sound"),
        (np.where(np.arange(16_000) < 800, 0.3 * np.sin(np.arange(16_000)), 0), "too short: 0.0[0-9] s of speech, at least 0.10 s"),
        (np.where(np.arange(16_000) % 2, 1e-5, -1e-5), "no speech found in 0.98 s of sound"),
        (np.full(16_000, np.nan), "16000 samples are not finite"),
    ],
    ids=["silent", "shorter than a frame", "a moment of speech", "faint", "not finite"],
)
def test_sound_without_enough_speech_is_refused_with_its_reason(samples, message, voice_model):
    with pytest.raises(AudioError, match=message):
        Embedder(voice_model()).embed(samples)


def test_errors_name_the_file(voice_model, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    embedder = Embedder(voice_model())
    with pytest.raises(AudioError, match=r"silent\.wav: silent"):
        embedder.embed_file(tmp_path / "silent.wav")
    with pytest.raises(AudioError, match="No such file"):
        embedder.embed_file(tmp_path / "nowhere.wav")


def test_clipped_and_short_speech_is_taken_with_a_warning(voice_model, write_voice, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    embedder = Embedder(voice_model(windows=(500, 250, 40)))
    embedder.embed_file(write_voice("fine", duration=1.5))
    assert caplog.text == ""
    embedder.embed_file(write_voice("loud", duration=1.5, gain=5))
    assert "% of the samples are clipped" in caplog.text
    caplog.clear()
    embedder.embed_file(write_voice("short", duration=0.8))
    assert "little more than the 0.40 s that the model needs" in caplog.text


def test_what_is_short_is_what_the_calibration_has_not_seen(voice_model, write_voice, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    embedder = Embedder(voice_model(windows=(500, 250, 40)))
    embedder.seen = (0.7, 3.0)
    embedder.embed_file(write_voice("seen", duration=0.8))
    assert caplog.text == "", "such recordings were in the list of the fit, however long the window is"
    embedder.seen = (1.0, 3.0)
    embedder.embed_file(write_voice("unseen", duration=0.8))
    assert "0.80 s of sound; the shortest recording that the calibration was fitted on has 1.00 s" in caplog.text


def test_higher_rates_are_converted_and_lower_ones_only_when_asked(voice_model, write_voice, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    embedder = Embedder(voice_model())
    plain, fast = (embedder.embed_file(write_voice(f"r{rate}", rate=rate)) for rate in (16_000, 48_000))
    assert float(plain.vector @ fast.vector) > 0.99
    assert fast.duration == pytest.approx(1.5, abs=0.001)
    slow = write_voice("slow", rate=8000)
    with pytest.raises(AudioError, match="sample rate is 8000 Hz, the model was trained at 16000 Hz; --resample"):
        embedder.embed_file(slow)
    embedder.embed_file(slow, resample=True)
    assert "upper part of its band is empty" in caplog.text


def test_a_single_sample_at_full_scale_is_a_peak_and_three_are_clipped():
    samples = np.zeros(100, np.float32)
    samples[[10, 20, 21]] = 1.0
    assert clipped_share(samples) == 0
    samples[22] = 1.0
    samples[50:54] = -1.0
    assert clipped_share(samples) == pytest.approx(0.07)
    assert clipped_share(samples[:2]) == 0
