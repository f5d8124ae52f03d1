"""sv-compute-vad as a command: its options, what it finds beside the features, exit codes."""

from __future__ import annotations

import dataclasses
import sys

import pytest
from click.testing import CliRunner

from sv_toolkit.cli.compute_vad import COMMON, ENERGY, WEBRTC, command
from sv_toolkit.cli.extract_fbank import command as extract_fbank
from sv_toolkit.features.vad import EnergyVadConfig, VadConfig, WebrtcVadConfig
from sv_toolkit.io.archives import ScpReader
from sv_toolkit.io.manifest import read_manifest


def run(*arguments, code=0, what=command, name="sv-compute-vad"):
    result = CliRunner().invoke(what, [str(argument) for argument in arguments], prog_name=name)
    assert result.exit_code == code, result.output
    return result


def config_of(folder):
    return read_manifest(folder, "vad").job["config"]


def test_every_option_of_the_detectors_is_on_the_command_line():
    assert set(ENERGY) == {field.name for field in dataclasses.fields(EnergyVadConfig)}
    assert set(WEBRTC) == {field.name for field in dataclasses.fields(WebrtcVadConfig)}
    assert {*COMMON, "energy", "webrtc"} == {field.name for field in dataclasses.fields(VadConfig)}
    assert {*ENERGY, *WEBRTC, *COMMON} <= {param.name for param in command.params}


def test_decisions_fit_the_features_beside_them(recordings):
    run("--frame-shift=20", "--snip-edges=false", "--nj=1", recordings, what=extract_fbank)
    run("--kind=energy", "--nj=1", recordings)
    assert ScpReader(recordings / "vad.scp").shape("s0-u00") == ScpReader(recordings / "feats.scp").shape("s0-u00")[:1]


def test_options_reach_the_detectors(recordings, tmp_path):
    pytest.importorskip("webrtcvad", exc_type=ImportError)
    run("--mode=3", "--frame-ms=30", "--hangover=4", "--keep=span", "--nj=1", recordings, tmp_path / "a")
    made = config_of(tmp_path / "a")
    assert made["kind"] == "webrtc"
    assert made["keep"] == "span"
    assert made["webrtc"] == {"mode": 3, "frame_ms": 30, "hangover": 4}
    options = "--kind=energy --vad-energy-threshold=4 --vad-energy-mean-scale=0.25 --vad-frames-context=3 --vad-proportion-threshold=0.5"
    run(*options.split(), "--energy-threshold-below-max=7", "--min-frames=9", "--nj=1", recordings, tmp_path / "b")
    energy = {
        "source": "waveform",
        "energy_threshold": 4.0,
        "energy_mean_scale": 0.25,
        "energy_threshold_below_max": 7.0,
        "frames_context": 3,
        "proportion_threshold": 0.5,
    }
    assert config_of(tmp_path / "b")["energy"] == energy
    assert config_of(tmp_path / "b")["min_frames"] == 9


def test_the_command_line_wins_over_the_configuration_file(recordings, tmp_path):
    config = tmp_path / "features.toml"
    config.write_text("[fbank]\nframe_shift = 0.02\n[vad]\nkind = 'energy'\n[vad.energy]\nframes_context = 5\nproportion_threshold = 0.3\n")
    run("--config", config, "--vad-frames-context", 1, "--nj", 1, recordings, tmp_path / "out")
    made = config_of(tmp_path / "out")
    assert (made["kind"], made["energy"]["frames_context"], made["energy"]["proportion_threshold"]) == ("energy", 1, 0.3)
    assert ScpReader(tmp_path / "out" / "vad.scp").shape("s0-u00") == (24,)


@pytest.mark.parametrize(
    "options, message",
    [(["--mode=4"], "0<=x<=3"), (["--mode=-1"], "0<=x<=3"), (["--frame-ms=25"], "'10', '20', '30'"), (["--kind=none"], "webrtc")],
)
def test_a_wrong_command_line_is_status_2_and_names_what_is_allowed(recordings, options, message):
    assert message in run(*options, recordings, code=2).stderr


@pytest.mark.parametrize(
    "text, message",
    [
        ("[vad]\nmode = 3\n", "unknown key 'mode'"),
        ("[vad.webrtc]\nmode = 7\n", "mode must be one of 0, 1, 2, 3"),
        ("[vad]\nenergy = 3\n", "a table of keys is needed"),
        ("vad = 3\n", "a table of keys is needed"),
    ],
)
def test_a_wrong_configuration_is_one_line_that_names_it(recordings, tmp_path, text, message):
    config = tmp_path / "vad.toml"
    config.write_text(text)
    result = run("--config", config, recordings, tmp_path / "out", code=1)
    assert "vad.toml" in result.stderr
    assert message in result.stderr


def test_a_missing_webrtcvad_is_one_line_with_the_way_out(recordings, monkeypatch):
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    result = run(recordings, code=1)
    assert "webrtcvad-wheels" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_no_speech_anywhere_is_status_1(recordings):
    result = run("--kind=energy", "--vad-energy-threshold=30", "--nj=1", recordings, code=1)
    assert "24 of 24" in result.stderr
    assert "no speech" in result.stderr
