"""ONNX graphs of other programs as models: they agree with ONNX Runtime, every command takes them, hostile ones are refused."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from sv_toolkit.cli.calibrate import command as calibrate  # noqa: E402
from sv_toolkit.cli.enroll import command as enroll  # noqa: E402
from sv_toolkit.cli.export import command as export  # noqa: E402
from sv_toolkit.cli.extract_dvector import command as extract_dvector  # noqa: E402
from sv_toolkit.cli.extract_fbank import command as extract_fbank  # noqa: E402
from sv_toolkit.cli.identify import command as identify  # noqa: E402
from sv_toolkit.cli.import_model import KINDS  # noqa: E402
from sv_toolkit.cli.import_model import command as import_model  # noqa: E402
from sv_toolkit.cli.info import command as info  # noqa: E402
from sv_toolkit.cli.make_trials import command as make_trials  # noqa: E402
from sv_toolkit.cli.report import command as report  # noqa: E402
from sv_toolkit.cli.score import command as score  # noqa: E402
from sv_toolkit.cli.store import command as store  # noqa: E402
from sv_toolkit.cli.verify import command as verify  # noqa: E402
from sv_toolkit.config import as_table  # noqa: E402
from sv_toolkit.embeddings.embed import embed  # noqa: E402
from sv_toolkit.errors import ModelError, SvError  # noqa: E402
from sv_toolkit.features.fbank import fbank  # noqa: E402
from sv_toolkit.features.fbank_config import FbankConfig  # noqa: E402
from sv_toolkit.io.archives import read_vectors  # noqa: E402
from sv_toolkit.io.audio import AudioRequest, read_waveform  # noqa: E402
from sv_toolkit.io.tables import write_table  # noqa: E402
from sv_toolkit.models.importing import IMPORTERS  # noqa: E402
from sv_toolkit.models.importing.onnx_graph import ImportOptions, import_onnx  # noqa: E402
from sv_toolkit.models.store import Description, load_model, read_description, save_model  # noqa: E402

BANDS, DIM = 80, 6
CONFIG = FbankConfig(num_mel_bins=BANDS, window_type="hamming")


def graph(nodes=None, batch="B", frames="T", bands=BANDS, outputs=None, weight=None, opsets=(("", 17),), **more):
    """A linear layer, tanh, and statistics over time, as bytes; `more` replaces attributes of the graph."""
    rng = np.random.default_rng(5)
    weight = rng.normal(size=(BANDS, DIM)).astype(np.float32) / 9 if weight is None else weight
    nodes = nodes or [
        helper.make_node("MatMul", ["feats", "weight"], ["hidden"]),
        helper.make_node("Tanh", ["hidden"], ["bent"]),
        helper.make_node("ReduceMean", ["bent"], ["embs"], axes=[1], keepdims=0),
    ]
    made = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("feats", TensorProto.FLOAT, [batch, frames, bands])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes) for name, axes in (outputs or {"embs": ["B", DIM]}).items()],
        more.get("initializer", [numpy_helper.from_array(weight, "weight")]),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid(*opset) for opset in opsets], ir_version=8)


@pytest.fixture
def write(tmp_path):
    """A function that writes a graph, or bytes, to a file."""

    def write_file(content, name="g.onnx"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
        return tmp_path / name

    return write_file


@pytest.fixture
def model(write, tmp_path):
    import_onnx(write(graph()), tmp_path / "model", ImportOptions())
    return tmp_path / "model"


def by_hand(path, samples, mean=0.0):
    """What ONNX Runtime gives for a waveform, of unit length."""
    features = fbank(samples, CONFIG)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    vector = session.run(None, {"feats": (features - features.mean(axis=0, dtype=np.float64).astype(np.float32))[None]})[0][0] - mean
    return vector / np.linalg.norm(vector)


def run(command, *arguments, expected=0):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == expected, result.stderr
    return result


def test_the_command_names_every_importer():
    assert set(KINDS) == set(IMPORTERS)


def test_vectors_agree_with_onnx_runtime_whatever_their_neighbours(model, tmp_path, rng):
    waves = [rng.normal(scale=0.1, size=size).astype(np.float32) for size in (16000, 30000, 16000, 48000)]
    network, description = load_model(model)
    inputs = [features - features.mean(axis=0, dtype=np.float64).astype(np.float32) for features in (fbank(wave, CONFIG) for wave in waves)]
    found = embed(network, inputs, description.windows)
    np.testing.assert_allclose(found, [by_hand(tmp_path / "g.onnx", wave) for wave in waves], rtol=0, atol=1e-6)


def test_a_mean_vector_is_subtracted(write, tmp_path, rng):
    mean, wave = rng.normal(size=DIM).astype(np.float32) / 5, rng.normal(scale=0.1, size=20000).astype(np.float32)
    features = fbank(wave, CONFIG)
    files = {"mean.npy": None, "mean.vec": " [ " + " ".join(map(str, mean)) + " ]\n"}
    np.save(tmp_path / "mean.npy", mean)
    (tmp_path / "mean.vec").write_text(files["mean.vec"])
    for number, name in enumerate(files):
        import_onnx(write(graph()), tmp_path / f"m{number}", ImportOptions(mean=tmp_path / name))
        network, description = load_model(tmp_path / f"m{number}")
        found = embed(network, [features - features.mean(axis=0, dtype=np.float64).astype(np.float32)], description.windows)[0]
        np.testing.assert_allclose(found, by_hand(tmp_path / "g.onnx", wave, mean), rtol=0, atol=1e-6)
    (tmp_path / "bad.vec").write_text("[ 1 2 ]")
    with pytest.raises(SvError, match="bad.vec: needed are 6 finite numbers"):
        import_onnx(write(graph()), tmp_path / "bad", ImportOptions(mean=tmp_path / "bad.vec"))


def test_windows_are_averaged_and_a_fixed_graph_sets_its_own(write, tmp_path, rng):
    import_onnx(write(graph()), tmp_path / "a", ImportOptions(window=50, shift=25))
    import_onnx(write(graph(batch=1, frames=50)), tmp_path / "b", ImportOptions(shift=25))
    frames = rng.normal(size=(133, BANDS)).astype(np.float32)
    vectors = []
    for name in "ab":
        network, description = load_model(tmp_path / name)
        assert description.windows.window == 50
        vectors.append(embed(network, [frames], description.windows)[0])
    session = onnxruntime.InferenceSession((tmp_path / "g.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    pieces = [session.run(None, {"feats": frames[None, start : start + 50]})[0][0] for start in (0, 25, 50, 75, 83)]
    mean = np.sum([piece / np.linalg.norm(piece) for piece in pieces], axis=0)
    np.testing.assert_allclose(vectors, [mean / np.linalg.norm(mean)] * 2, rtol=0, atol=1e-6)
    assert read_description(tmp_path / "b")[0].network["batched"] is False


@pytest.fixture
def spoken(write_voice, tmp_path):
    """Twelve utterances of three voices."""
    wav = {f"s{s}-u{u}": str(write_voice(f"s{s}-u{u}", pitch + u, 1.2)) for s, pitch in enumerate((90, 150, 240)) for u in range(4)}
    (tmp_path / "data").mkdir()
    write_table(tmp_path / "data/wav.scp", wav)
    write_table(tmp_path / "data/utt2spk", {key: key[:2] for key in wav})
    return tmp_path / "data"


def test_every_command_takes_it(model, spoken, tmp_path):
    """Features and vectors of a data directory, one recording, scores, calibration, store, report."""
    features, vectors = tmp_path / "features", tmp_path / "vectors"
    run(extract_fbank, "--num-mel-bins", BANDS, "--window-type", "hamming", spoken, features)
    run(extract_dvector, model, features, vectors)
    ids, found = read_vectors(vectors / "dvector.scp")
    wav = dict(line.split() for line in (spoken / "wav.scp").read_text().splitlines())
    for key, vector in zip(ids, found):
        samples = read_waveform(AudioRequest(wav[key], "", key)).samples
        np.testing.assert_allclose(vector, by_hand(tmp_path / "g.onnx", samples), rtol=0, atol=1e-6)
    run(make_trials, spoken, "-o", tmp_path / "trials")
    scored = run(score, tmp_path / "trials", "--enroll", vectors / "dvector.scp", "-o", tmp_path / "scores")
    assert "EER" in scored.stdout + scored.stderr
    run(calibrate, tmp_path / "trials", tmp_path / "scores", "--model", model)
    first, second = wav[ids[0]], wav[ids[1]]
    pair = run(verify, "--model", model, first, second).stdout
    assert float(dict(line.split(" ", 1) for line in pair.splitlines())["score"]) == pytest.approx(float(found[0] @ found[1]), abs=2e-6)
    run(enroll, "--store", tmp_path / "store", "--model", model, "--speaker", "abe", first)
    assert "abe" in run(store, tmp_path / "store").stdout
    assert run(identify, "--model", model, "--store", tmp_path / "store", second).stdout
    run(report, f"x={tmp_path}/trials,{tmp_path}/scores", "-o", tmp_path / "report.html")
    shown = run(info, model).stdout
    assert "architecture onnx" in shown and "feature_dim 80" in shown
    assert "was imported from an ONNX file" in run(export, model, tmp_path / "out.onnx", expected=1).stderr
    assert not (tmp_path / "out.onnx").exists()


def custom(domain="com.stranger", op="RunShell"):
    return graph([helper.make_node(op, ["feats"], ["embs"], domain=domain)], opsets=(("", 17), (domain, 1)))


def external(where):
    made = graph()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", where
    return made


def hidden_external():
    """In an attribute of a node of a subgraph."""
    inner = external("../secret").graph
    inner.ClearField("input")
    return graph([helper.make_node("If", ["feats"], ["embs"], then_branch=inner, else_branch=inner)])


NAN = np.full((BANDS, DIM), np.nan, np.float32)
HOSTILE = {
    "custom operator": (custom(), "custom operator RunShell of com.stranger"),
    "operator of one runtime": (custom("com.microsoft", "FusedMatMul"), "custom operator FusedMatMul"),
    "tensor elsewhere": (external("/etc/passwd"), "lies in another file"),
    "tensor beside": (external("weights.bin"), "lies in another file"),
    "tensor elsewhere, hidden": (hidden_external(), "lies in another file"),
    "NaN": (graph(weight=NAN), "not finite"),
    "other bands": (graph(bands=40), "takes 40 bands, the features have 80"),
    "two axes": (
        graph(initializer=[numpy_helper.from_array(np.ones((40, DIM), np.float32), "weight")], bands="F"),
        "cannot run on|cannot open",
    ),
    "frames come out": (
        graph([helper.make_node("MatMul", ["feats", "weight"], ["embs"])], outputs={"embs": ["B", "T", DIM]}),
        "needed is .1, embedding_dim",
    ),
    "fixed batch": (graph(batch=3), "batch is fixed at 3"),
    "huge": (
        graph(
            [
                helper.make_node("ConstantOfShape", ["shape"], ["large"]),
                helper.make_node("ReduceSum", ["large"], ["sum"], keepdims=1),
                helper.make_node("Add", ["feats", "sum"], ["embs"]),
            ],
            initializer=[numpy_helper.from_array(np.array([1 << 30, 1 << 30, 1]), "shape")],
            outputs={"embs": ["B", "T", BANDS]},
        ),
        "cannot run on|cannot open",
    ),
    "not a graph": (b"\x08\x08<html>not found</html>", "not a valid ONNX graph"),
    "empty": (b"", "not a valid ONNX graph|empty"),
    "truncated": (graph().SerializeToString()[:-40], "not a valid ONNX graph"),
}


@pytest.mark.parametrize(("content", "message"), HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_graph_is_refused_in_one_line(content, message, write, tmp_path):
    result = run(import_model, write(content), tmp_path / "out", expected=1)
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "g.onnx: " in result.stderr
    assert re.search(message, result.stderr), result.stderr
    assert not (tmp_path / "out").exists()


def test_a_hostile_graph_in_a_model_folder_is_refused_when_it_runs(model, tmp_path):
    content = custom().SerializeToString()
    _, description = load_model(model)
    table = {**as_table(load_model(model)[0].config), "num_bytes": len(content)}
    changed = Description(**{**vars(description), "network": table})
    weights = {"graph": torch.frombuffer(bytearray(content), dtype=torch.uint8), "mean": torch.zeros(DIM)}
    save_model(tmp_path / "bad", weights, changed)
    with pytest.raises(ModelError, match="custom operator"):
        load_model(tmp_path / "bad")[0](torch.zeros(1, 50, BANDS))


def test_outputs_are_chosen_by_name(write, tmp_path):
    values = {"bent": ["B", "T", DIM], "embs": ["B", DIM]}
    with pytest.raises(ModelError, match="2 outputs, bent, embs; --output says"):
        import_onnx(write(graph(outputs=values)), tmp_path / "out", ImportOptions())
    import_onnx(write(graph(outputs=values)), tmp_path / "out", ImportOptions(output="embs"))
    assert read_description(tmp_path / "out")[0].network["output"] == "embs"


def test_another_model_is_not_overwritten_unasked(model, write):
    before = (model / "model.json").read_text()
    with pytest.raises(SvError, match="--overwrite"):
        import_onnx(write(graph(weight=np.ones((BANDS, DIM), np.float32))), model, ImportOptions())
    assert (model / "model.json").read_text() == before
    import_onnx(write(graph(weight=np.eye(BANDS, DIM, dtype=np.float32))), model, ImportOptions(overwrite=True))
    assert json.loads((model / "model.json").read_text()) != json.loads(before)
