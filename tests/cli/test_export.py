"""sv-export as a command, and a file of it used without the toolkit."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from sv_toolkit.cli.export import command

ROOT = Path(__file__).resolve().parents[2]
ALONE = (
    "import sys, runpy; sys.modules.update(torch=None, sv_toolkit=None); sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
)


def run(*arguments, code=0):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], prog_name="sv-export")
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def model(tmp_path):
    """A projected LSTM on the energy detector's frames, half a second of speech or more."""
    import torch

    from sv_toolkit.config import as_table
    from sv_toolkit.features.fbank import FbankConfig
    from sv_toolkit.features.prepare import InputConfig
    from sv_toolkit.features.vad import VadConfig
    from sv_toolkit.models.store import Description, WindowConfig, make_network, save_model

    sizes = {"hidden_size": 16, "projection_size": 8, "num_layers": 2, "embedding_dim": 6}
    made = {"fbank": {"config": as_table(FbankConfig())}, "vad": {"config": as_table(VadConfig(kind="energy"))}}
    description = Description("lstm", sizes, 40, InputConfig(), WindowConfig(20, 10, 10), made)
    torch.manual_seed(3)
    save_model(tmp_path / "model", {name: 2 * tensor for name, tensor in make_network(description).state_dict().items()}, description)
    return tmp_path / "model"


def needs_runtime():
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name)


def embed_alone(model, wav, *more):
    words = [sys.executable, "-c", ALONE, str(ROOT / "docs/embed_onnx.py"), str(model), str(wav), *map(str, more)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


def test_the_example_gives_the_dvectors_of_the_toolkit_without_it(model, recordings, tmp_path):
    needs_runtime()
    from sv_toolkit.embeddings.extract import Options, extract_dvectors
    from sv_toolkit.extraction.fbank import extract_fbank
    from sv_toolkit.extraction.pipeline import AudioOptions, RunOptions
    from sv_toolkit.extraction.vad import compute_vad
    from sv_toolkit.features.fbank import FbankConfig
    from sv_toolkit.features.vad import VadConfig
    from sv_toolkit.io.archives import read_vectors
    from sv_toolkit.io.tables import read_table

    extract_fbank(recordings, recordings, FbankConfig(), AudioOptions(), RunOptions(1))
    compute_vad(recordings, recordings, VadConfig(kind="energy"), AudioOptions(), RunOptions(1))
    extract_dvectors(model, recordings, tmp_path / "dvectors", Options(num_jobs=1))
    ids, vectors = read_vectors(tmp_path / "dvectors" / "dvector.scp")
    wav, expected = read_table(recordings / "wav.scp"), dict(zip(ids, vectors))
    assert np.abs(vectors - vectors[0]).max() > 1e-2  # a model that hears nothing would agree with anything
    run(model, tmp_path / "whole.onnx", "--with-features", *(f"--check={wav[key]}" for key in ids[:2]))
    for key in ids[:3]:
        result = embed_alone(tmp_path / "whole.onnx", wav[key])
        assert result.returncode == 0, result.stderr
        np.testing.assert_allclose(np.array(result.stdout.split(), float), expected[key], atol=1e-4)
    run(model, tmp_path / "network.onnx")
    result = embed_alone(tmp_path / "network.onnx", wav[ids[0]])
    assert result.returncode == 1 and "takes no waveform" in result.stderr


def test_frames_of_speech_may_come_from_a_file(model, recordings, tmp_path):
    needs_runtime()
    from sv_toolkit.embeddings.waveform import Embedder
    from sv_toolkit.io.audio import AudioRequest
    from sv_toolkit.io.tables import read_table

    wav = next(iter(read_table(recordings / "wav.scp").values()))
    run(model, tmp_path / "masked.onnx", "--with-features", "--vad", "input")
    embedder = Embedder(model)
    samples, front_end = soundfile.read(wav, dtype="float32")[0], embedder.front_end
    voiced = front_end.voiced(samples, front_end.features(samples))
    (tmp_path / "voiced.txt").write_text("".join(f"{int(value)}\n" for value in voiced))
    result = embed_alone(tmp_path / "masked.onnx", wav, tmp_path / "voiced.txt")
    assert result.returncode == 0, result.stderr
    expected = embedder.embed_request(AudioRequest(wav, "", "u")).vector
    np.testing.assert_allclose(np.array(result.stdout.split(), float), expected, atol=1e-4)
    assert "needs a file that says which frames are speech" in embed_alone(tmp_path / "masked.onnx", wav).stderr
    (tmp_path / "voiced.txt").write_text("1\n0\n")
    for arguments in ((wav, tmp_path / "voiced.txt"), (wav, wav), (wav, tmp_path / "none.txt")):
        wrong = embed_alone(tmp_path / "masked.onnx", *arguments)
        assert wrong.returncode == 1 and len(wrong.stderr.splitlines()) == 1 and wrong.stdout == ""


def test_what_the_example_cannot_use_is_one_line(model, recordings, tmp_path):
    needs_runtime()
    from sv_toolkit.io.tables import read_table

    wav = next(iter(read_table(recordings / "wav.scp").values()))
    run(model, tmp_path / "whole.onnx", "--with-features")
    (tmp_path / "text.onnx").write_text("no graph")
    for arguments in (
        (tmp_path / "none.onnx", wav),
        (tmp_path / "text.onnx", wav),
        (tmp_path / "whole.onnx", tmp_path / "none.wav"),
        (tmp_path / "whole.onnx", tmp_path / "text.onnx"),
    ):
        result = embed_alone(*arguments)
        assert (
            result.returncode == 1
            and len(result.stderr.splitlines()) == 1
            and str(arguments[arguments[0].name == "whole.onnx"]) in result.stderr
        )


def test_a_detector_that_is_a_program_is_refused_with_the_one_that_is_not(voice_model, tmp_path):
    needs_runtime()
    from sv_toolkit.features.vad import VadConfig

    model = voice_model("webrtc", vad=VadConfig(kind="webrtc"))
    assert "sv-compute-vad --kind energy" in run(model, tmp_path / "x.onnx", "--with-features", code=1)


def test_what_was_done_is_said_and_done_once(model, tmp_path):
    needs_runtime()
    out = tmp_path / "network.onnx"
    assert re.search(r"sv-export: .*network.onnx: 0.0 MB; ONNX Runtime and PyTorch differ by at most \d", run(model, out, "--lengths"))
    assert "nothing to do" in run(model, out, "--lengths")
    assert "--overwrite replaces it" in run(model, out, code=1)
    run(model, out, "--overwrite")


def test_a_recording_that_cannot_be_read_publishes_nothing(model, tmp_path):
    needs_runtime()
    assert "No such file" in run(model, tmp_path / "network.onnx", "--check", tmp_path / "none.wav", code=1)
    assert not (tmp_path / "network.onnx").exists()


def test_options_that_exclude_each_other_are_the_command_lines_fault(tmp_path):
    assert "--lengths belongs to the network alone" in run(tmp_path, tmp_path / "x.onnx", "--lengths", "--with-features", code=2)
    assert "--vad needs --with-features" in run(tmp_path, tmp_path / "x.onnx", "--vad", "none", code=2)


def test_missing_models_are_named(tmp_path):
    needs_runtime()
    assert "no such folder; sv-train makes a model" in run(tmp_path / "none", tmp_path / "x.onnx", code=1)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_packages_are_named_with_the_extra_that_brings_them(package, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("sv_toolkit.export.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    if package == "onnxruntime":
        pytest.importorskip("onnx")
    output = run(tmp_path, tmp_path / "x.onnx", code=1)
    assert output.startswith(f"sv-export: error: {package} cannot be imported")
    assert "pip install 'sv_toolkit[export]'" in output
