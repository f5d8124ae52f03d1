"""A model folder becomes one ONNX file that gives the same vectors, or nothing."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from sv_toolkit.config import as_table  # noqa: E402
from sv_toolkit.embeddings.embed import embed  # noqa: E402
from sv_toolkit.errors import ModelError, OutputError, SvError  # noqa: E402
from sv_toolkit.export import check, networks  # noqa: E402
from sv_toolkit.export.export import export_model  # noqa: E402
from sv_toolkit.export.options import ExportOptions  # noqa: E402
from sv_toolkit.features.fbank import FbankConfig, fbank  # noqa: E402
from sv_toolkit.features.mfcc import MfccConfig  # noqa: E402
from sv_toolkit.features.prepare import InputConfig, prepare  # noqa: E402
from sv_toolkit.features.vad import EnergyVadConfig, VadConfig  # noqa: E402
from sv_toolkit.models.store import Description, WindowConfig, load_model, make_network, model_digest, save_model  # noqa: E402

NETWORK = {"hidden_size": 12, "projection_size": 6, "num_layers": 2, "embedding_dim": 7, "pooling": "last", "dropout": 0.0}
WHOLE = ExportOptions(with_features=True)


def write_model(folder, features=None, vad=None, **options):
    features = FbankConfig() if features is None else features
    made = {"mfcc" if isinstance(features, MfccConfig) else "fbank": {"config": as_table(features)}}
    made["vad"] = {"config": as_table(VadConfig(kind="energy") if vad is None else vad)}
    whole = {"input": InputConfig(), "windows": WindowConfig(40, 20, 15), "features": made, **options}
    description = Description("lstm", NETWORK, features.dim, **whole)
    torch.manual_seed(3)
    weights = {name: 2 * tensor for name, tensor in make_network(description).state_dict().items()}
    save_model(folder, weights, description)
    return folder


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "model")


def run(path, **inputs):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, inputs)


def sound(rng, num_samples, rate=16000):
    return (0.1 * np.sin(6 * np.arange(num_samples) / rate) ** 4 * rng.standard_normal(num_samples)).astype(np.float32)


def test_the_network_alone_gives_what_pytorch_gives(model, tmp_path, rng):
    assert "differ by at most" in export_model(model, tmp_path / "new" / "network.onnx", ExportOptions())
    features = rng.standard_normal((3, 33, 40)).astype(np.float32)
    with torch.inference_mode():
        expected = load_model(model)[0](torch.from_numpy(features)).numpy()
    (found,) = run(tmp_path / "new" / "network.onnx", features=features)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (tmp_path / "new" / "network.onnx").stat().st_mode & 0o007 == 0


def test_from_the_waveform_on_it_gives_the_dvector_and_its_number_of_frames(model, tmp_path, rng):
    export_model(model, tmp_path / "whole.onnx", ExportOptions(with_features=True, vad="none"))
    network, description = load_model(model)
    samples = sound(rng, 30000)
    inputs = prepare(fbank(samples, FbankConfig()), None, description.input)
    dvector, num_frames = run(tmp_path / "whole.onnx", waveform=samples)
    assert num_frames == len(inputs)
    np.testing.assert_allclose(dvector, embed(network, [inputs], description.windows)[0], atol=1e-5)


def test_what_would_be_skipped_gives_zeros(model, tmp_path, rng):
    export_model(model, tmp_path / "whole.onnx", WHOLE)
    for samples in (np.zeros(0), np.zeros(100), np.zeros(48000), sound(rng, 800)):
        dvector, num_frames = run(tmp_path / "whole.onnx", waveform=samples.astype(np.float32))
        assert num_frames < 15
        np.testing.assert_array_equal(dvector, 0)
    dvector, num_frames = run(tmp_path / "whole.onnx", waveform=sound(rng, 48000))
    assert num_frames >= 15
    np.testing.assert_allclose(np.linalg.norm(dvector), 1, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"features": MfccConfig(sample_rate=8000)},
        {"features": FbankConfig(dither=1.0), "vad": VadConfig(kind="energy", energy=EnergyVadConfig("features", 9.0))},
        {"features": MfccConfig(), "vad": VadConfig(kind="energy", energy=EnergyVadConfig("features"))},
        {"features": FbankConfig(snip_edges=False), "input": InputConfig("sliding", use_vad=False)},
        {"vad": VadConfig(kind="energy", keep="span", min_frames=30), "input": InputConfig("utterance", cmvn_variance=True)},
    ],
    ids=["mfcc", "dither", "stored energy", "sliding", "span"],
)
def test_other_front_ends_pass_the_check(options, tmp_path):
    export_model(write_model(tmp_path / "model", **options), tmp_path / "whole.onnx", WHOLE)


def test_decisions_can_be_an_input(tmp_path, rng):
    model = write_model(tmp_path / "model", vad=VadConfig(kind="webrtc"))
    with pytest.raises(ModelError, match="webrtc, is a program and cannot be part of a graph;.* --vad input"):
        export_model(model, tmp_path / "whole.onnx", WHOLE)
    export_model(model, tmp_path / "whole.onnx", replace(WHOLE, vad="input"))
    network, description = load_model(model)
    samples = sound(rng, 30000)
    features = fbank(samples, FbankConfig())
    is_voiced = rng.random(len(features)) < 0.5
    dvector, num_frames = run(tmp_path / "whole.onnx", waveform=samples, is_voiced=is_voiced)
    assert num_frames == is_voiced.sum()
    expected = embed(network, [prepare(features, is_voiced, description.input)], description.windows)[0]
    np.testing.assert_allclose(dvector, expected, atol=1e-5)
    with pytest.raises(Exception, match="is_voiced|broadcast|And"):
        run(tmp_path / "whole.onnx", waveform=samples, is_voiced=is_voiced[:-1])


def test_the_file_says_what_it_is(model, tmp_path):
    export_model(model, tmp_path / "whole.onnx", WHOLE)
    session = onnxruntime.InferenceSession(str(tmp_path / "whole.onnx"), providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["model_digest"] == model_digest(model)
    assert metadata["sample_rate"] == "16000"
    assert json.loads(metadata["features"])["fbank"]["config"] == as_table(FbankConfig())
    assert json.loads(metadata["graph_vad"])["kind"] == "energy"
    assert json.loads(metadata["windows"]) == {"window": 40, "shift": 20, "shortest": 15}
    assert [(node.name, node.shape) for node in session.get_inputs()] == [("waveform", ["num_samples"])]
    assert [(node.name, node.shape) for node in session.get_outputs()] == [("dvector", [7]), ("num_frames", [])]


def test_finished_work_is_left_alone_and_other_files_are_not_replaced(model, tmp_path):
    out = tmp_path / "network.onnx"
    export_model(model, out, ExportOptions())
    before = (out.stat().st_mtime_ns, out.read_bytes())
    assert "nothing to do" in export_model(model, out, ExportOptions())
    assert (out.stat().st_mtime_ns, out.read_bytes()) == before
    with pytest.raises(OutputError, match="is there already: another model, other options"):
        export_model(model, out, ExportOptions(with_lengths=True))
    assert out.read_bytes() == before[1]
    export_model(model, out, ExportOptions(with_lengths=True), overwrite=True)
    assert out.read_bytes() != before[1]
    with pytest.raises(OutputError, match="is a directory"):
        export_model(model, tmp_path, ExportOptions(), overwrite=True)


def test_a_graph_that_gives_something_else_is_not_published(model, tmp_path, monkeypatch):
    monkeypatch.setitem(networks.NETWORKS, "lstm", lambda *arguments: networks.lstm(*arguments) + 1e-2)
    for options in (ExportOptions(), ExportOptions(with_lengths=True), WHOLE):
        with pytest.raises(ModelError, match="made-up .* differ by .*nothing was written"):
            export_model(model, tmp_path / "out" / "x.onnx", options)
    assert not (tmp_path / "out").exists()


def test_models_that_do_not_say_how_their_input_is_made_give_the_network_alone(tmp_path):
    model = write_model(tmp_path / "model", **{"features": None})
    description = json.loads((model / "model.json").read_text())
    description["features"] = {}
    (model / "model.json").write_text(json.dumps(description))
    with pytest.raises(ModelError, match="does not say how its features were made; export the network alone"):
        export_model(model, tmp_path / "x.onnx", WHOLE)
    export_model(model, tmp_path / "x.onnx", ExportOptions())


def test_features_of_another_size_are_refused(tmp_path):
    model = write_model(tmp_path / "model")
    description = json.loads((model / "model.json").read_text())
    description["features"]["fbank"]["config"]["num_mel_bins"] = 23
    (model / "model.json").write_text(json.dumps(description))
    with pytest.raises(ModelError, match="fbank options give 23 columns, the network needs 40"):
        export_model(model, tmp_path / "x.onnx", WHOLE)


@pytest.mark.parametrize("made", [3, [], {}, {"config": 3}, {"config": {"sample_rate": "16 kHz"}}, {"config": {"no_such": 1}}])
@pytest.mark.parametrize("kind", ["fbank", "vad"])
def test_nonsense_about_the_input_is_refused_in_a_sentence(kind, made, tmp_path):
    model = write_model(tmp_path / "model")
    description = json.loads((model / "model.json").read_text())
    description["features"][kind] = made
    (model / "model.json").write_text(json.dumps(description))
    with pytest.raises(SvError, match=f"model: {kind}: |webrtc, cannot|model.json: is not the description of a model"):
        export_model(model, tmp_path / "x.onnx", WHOLE)


def test_damaged_model_folders_are_refused(model, tmp_path):
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelError, match="corrupt"):
        export_model(model, tmp_path / "x.onnx", ExportOptions())
    assert not (tmp_path / "x.onnx").exists()


def test_dither_is_left_out_aloud(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    export_model(write_model(tmp_path / "model", FbankConfig(dither=1.0)), tmp_path / "x.onnx", WHOLE)
    assert "dither, which is chance; the graph has none" in caplog.text


@pytest.mark.parametrize("options", [ExportOptions(), ExportOptions(with_lengths=True), WHOLE, replace(WHOLE, vad="input")])
def test_real_recordings_agree(options, model, tmp_path, corpora, monkeypatch):
    recordings = (*sorted((corpora / "an4/wav").rglob("*.flac"))[:200:40], *sorted((corpora / "speech_commands").rglob("*.flac"))[:9:3])
    assert len(recordings) == 8
    monkeypatch.setattr(check, "TOLERANCE", 2e-5)  # five times closer than what the command asks for
    export_model(model, tmp_path / "x.onnx", options, recordings)
