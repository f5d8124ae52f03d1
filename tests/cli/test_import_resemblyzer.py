"""Resemblyzer's layout as a model: its embedding, every command, hostile checkpoints.  The weights here are random."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from sv_toolkit.cli.calibrate import command as calibrate
from sv_toolkit.cli.enroll import command as enroll
from sv_toolkit.cli.export import command as export
from sv_toolkit.cli.extract_dvector import command as extract_dvector
from sv_toolkit.cli.extract_features import command as extract_features
from sv_toolkit.cli.identify import command as identify
from sv_toolkit.cli.import_model import PADDINGS as command_paddings
from sv_toolkit.cli.import_model import command as import_model
from sv_toolkit.cli.info import command as info
from sv_toolkit.cli.make_trials import command as make_trials
from sv_toolkit.cli.report import command as report
from sv_toolkit.cli.score import command as score
from sv_toolkit.cli.verify import command as verify
from sv_toolkit.embeddings.waveform import Embedder
from sv_toolkit.features.mel_spectrogram import MelSpectrogramConfig, mel_spectrogram
from sv_toolkit.io.archives import read_vectors
from sv_toolkit.io.audio import AudioRequest, read_waveform
from sv_toolkit.io.tables import write_table
from sv_toolkit.models.importing.resemblyzer import PADDINGS
from sv_toolkit.models.store import read_description

BANDS, UNITS, DIM = 40, 12, 9


def state(seed=3, bands=BANDS, units=UNITS, dim=DIM, layers=3):
    """Tensors of the names and the layout of the checkpoint."""
    rng = torch.Generator().manual_seed(seed)
    drawn = {"similarity_weight": (1,), "similarity_bias": (1,), "linear.weight": (dim, units), "linear.bias": (dim,)}
    for layer in range(layers):
        drawn[f"lstm.weight_ih_l{layer}"] = (4 * units, units if layer else bands)
        drawn[f"lstm.weight_hh_l{layer}"] = (4 * units, units)
        drawn |= {f"lstm.bias_{kind}_l{layer}": (4 * units,) for kind in ("ih", "hh")}
    return {name: torch.randn(shape, generator=rng) for name, shape in drawn.items()}


def write(path, tensors, legacy=True):
    torch.save({"step": 1, "model_state": tensors, "optimizer_state": {}}, path, _use_new_zipfile_serialization=not legacy)
    return path


def run(command, *arguments, expected=0):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == expected, result.stderr
    return result


@pytest.fixture
def model(tmp_path):
    run(import_model, write(tmp_path / "pretrained.pt", state()), tmp_path / "model", "--no-preprocess", "--shortest", 20)
    return tmp_path / "model"


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def slow_embedding(tensors, mels):
    """The network in double precision, step by step."""
    weights, outputs = {name: tensor.double().numpy() for name, tensor in tensors.items()}, mels.astype(np.float64)
    for layer in range(3):
        hidden, cell, rows = np.zeros(UNITS), np.zeros(UNITS), []
        for frame in outputs:
            gates = weights[f"lstm.weight_ih_l{layer}"] @ frame + weights[f"lstm.weight_hh_l{layer}"] @ hidden
            i, f, g, o = np.split(gates + weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"], 4)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            hidden = sigmoid(o) * np.tanh(cell)
            rows.append(hidden)
        outputs = np.array(rows)
    vector = np.maximum(weights["linear.weight"] @ outputs[-1] + weights["linear.bias"], 0)
    return vector / np.linalg.norm(vector)


def slow_utterance(tensors, samples, pad_short):
    """`embed_utterance`: the waveform filled up with zeros, windows of 160 frames every 77, the last by three quarters."""
    num_frames, starts = len(samples) // 160 + 1, [0]
    while starts[-1] + 77 < max(1, num_frames - 160 + 78):
        starts.append(starts[-1] + 77)
    if len(starts) > 1 and (len(samples) - 160 * starts[-1]) / 25600 < 0.75:
        starts.pop()
    if num_frames <= 160 and not pad_short:
        mels = mel_spectrogram(samples, MelSpectrogramConfig(log="none"))
        return slow_embedding(tensors, mels)
    samples = np.pad(samples, (0, max(0, (starts[-1] + 160) * 160 - len(samples))))
    mels = mel_spectrogram(samples, MelSpectrogramConfig(log="none"))
    total = np.sum([slow_embedding(tensors, mels[start : start + 160]) for start in starts], axis=0)
    return total / np.linalg.norm(total)


@pytest.mark.parametrize("size", [8000, 25590, 25601, 37919, 37920, 43839, 43840, 43999, 44000, 44001, 56500])
@pytest.mark.parametrize("pad_short", [False, True])
def test_it_is_the_slow_definition_at_every_edge_of_its_windows(size, pad_short, tmp_path, rng):
    options = ["--no-preprocess", "--padding", "all" if pad_short else "long"]
    run(import_model, write(tmp_path / "pretrained.pt", state()), tmp_path / "model", *options)
    samples = rng.normal(scale=0.1, size=size).astype(np.float32)
    found = Embedder(tmp_path / "model").embed(samples).vector
    np.testing.assert_allclose(found, slow_utterance(state(), samples, pad_short), rtol=0, atol=1e-5)


def test_it_is_what_the_package_gives(tmp_path, rng):
    resemblyzer = pytest.importorskip("resemblyzer", reason="needs the package Resemblyzer on PYTHONPATH")
    weights = Path(resemblyzer.__file__).parent / "pretrained.pt"
    run(import_model, weights, tmp_path / "model", "--no-preprocess")
    encoder, embedder = resemblyzer.VoiceEncoder("cpu", verbose=False), Embedder(tmp_path / "model")
    for size in rng.integers(25700, 90000, size=12):
        samples = rng.normal(scale=0.1, size=size).astype(np.float32)
        np.testing.assert_allclose(embedder.embed(samples).vector, encoder.embed_utterance(samples), rtol=0, atol=1e-5)


def test_the_wheel_and_both_forms_of_checkpoint_give_one_model(tmp_path):
    old, new = write(tmp_path / "old.pt", state()), write(tmp_path / "new.pt", state(), legacy=False)
    with zipfile.ZipFile(tmp_path / "R-0.1.4-py3-none-any.whl", "w") as wheel:
        wheel.write(old, "resemblyzer/pretrained.pt")
    for number, source in enumerate((old, new, tmp_path / "R-0.1.4-py3-none-any.whl")):
        run(import_model, source, tmp_path / f"m{number}")
    assert len({(tmp_path / f"m{number}/model.safetensors").read_bytes() for number in range(3)}) == 1
    features = read_description(tmp_path / "m0")[0].features["mel"]["config"]
    assert (features["level_db"], features["trim_pauses"]) == (-30.0, True)


def test_every_command_takes_it(model, write_voice, tmp_path):
    pytest.importorskip("onnxruntime")
    wav = {f"s{s}-u{u}": str(write_voice(f"s{s}-u{u}", pitch + u, 1.2)) for s, pitch in enumerate((90, 150, 240)) for u in range(4)}
    (tmp_path / "data").mkdir()
    write_table(tmp_path / "data/wav.scp", wav)
    write_table(tmp_path / "data/utt2spk", {key: key[:2] for key in wav})
    settings = ["--set", "num_mel_bins=40", "--set", 'log="none"', "--set", "tail=2"]
    features, vectors, trials = tmp_path / "features", tmp_path / "vectors", tmp_path / "trials"
    run(extract_features, "mel", *settings, tmp_path / "data", features)
    run(extract_dvector, model, features, vectors)
    ids, found = read_vectors(vectors / "dvector.scp")
    for key, vector in zip(ids, found):
        samples = read_waveform(AudioRequest(wav[key], "", key)).samples
        np.testing.assert_allclose(vector, slow_utterance(state(), samples, False), rtol=0, atol=1e-5)
    run(make_trials, tmp_path / "data", "-o", trials)
    run(score, trials, "--enroll", vectors / "dvector.scp", "-o", tmp_path / "scores")
    run(calibrate, trials, tmp_path / "scores", "--model", model)
    first, second = wav[ids[0]], wav[ids[1]]
    pair = dict(line.split(" ", 1) for line in run(verify, "--model", model, first, second).stdout.splitlines())
    assert float(pair["score"]) == pytest.approx(float(found[0] @ found[1]), abs=1e-5)
    run(enroll, "--store", tmp_path / "store", "--model", model, "--speaker", "abe", first)
    assert run(identify, "--model", model, "--store", tmp_path / "store", second).stdout
    run(report, f"x={trials},{tmp_path}/scores", "-o", tmp_path / "report.html")
    assert "architecture lstm" in run(info, model).stdout
    run(export, model, tmp_path / "out.onnx")
    refused = run(export, model, tmp_path / "whole.onnx", "--with-features", expected=1).stderr
    assert "features of the kind mel cannot be part of a graph yet" in refused


class Code:
    """A pickle that would run a command."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def changed(**more):
    return {**state(), **more}


LARGE = torch.zeros(1).expand(1 << 20, 1 << 20)
HOSTILE = {
    "NaN": (changed(**{"linear.bias": torch.full((DIM,), torch.nan)}), "linear.bias holds values that are not finite"),
    "infinite": (changed(**{"lstm.bias_hh_l2": torch.full((4 * UNITS,), torch.inf)}), "lstm.bias_hh_l2 holds values"),
    "huge by strides": (changed(**{"lstm.weight_hh_l0": LARGE}), "at most 8 layers and 4096"),
    "huge bias by strides": (changed(**{"linear.bias": torch.zeros(1).expand(1 << 40)}), "linear.bias has shape"),
    "wrong shape": (changed(**{"lstm.weight_hh_l1": torch.zeros(4 * UNITS, UNITS + 1)}), "lstm.weight_hh_l1 has shape .48, 13., needed is"),
    "missing": ({name: one for name, one in state().items() if name != "lstm.bias_ih_l1"}, "1 missing .lstm.bias_ih_l1"),
    "extra": (changed(other=torch.zeros(3)), "1 unknown .other"),
    "no numbers": (changed(**{"linear.bias": "text"}), "linear.bias is no dense tensor"),
    "integers": (changed(**{"linear.bias": torch.zeros(DIM, dtype=torch.int64)}), "linear.bias is no dense tensor"),
    "sparse": (changed(**{"linear.bias": torch.zeros(DIM).to_sparse()}), "linear.bias is no dense tensor"),
    "twenty layers": (state(layers=20), "20 layers"),
    "no table": ([1, 2], "no table model_state"),
}


@pytest.mark.parametrize(("tensors", "message"), HOSTILE.values(), ids=list(HOSTILE))
def test_a_hostile_checkpoint_is_refused_in_one_line(tensors, message, tmp_path):
    refuse(write(tmp_path / "p.pt", tensors), message, tmp_path)


def refuse(source, message, tmp_path):
    result = run(import_model, source, tmp_path / "out", expected=1)
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert source.name in result.stderr
    assert re.search(message, result.stderr), result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("legacy", [True, False])
def test_code_in_a_checkpoint_does_not_run(legacy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "p.pt", changed(**{"linear.bias": Code()}), legacy)
    refuse(path, "its pickle names posix.system, which could run code", tmp_path)
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Code()))
    refuse(tmp_path / "bare.pt", "not a checkpoint of tensors alone", tmp_path)
    assert not (tmp_path / "executed").exists()


def test_damaged_files_are_refused_in_one_line(tmp_path):
    whole = write(tmp_path / "whole.pt", state()).read_bytes()
    for number, content in enumerate((b"", b"<html>", whole[:-3000], b"PK\x03\x04" + bytes(90))):
        (tmp_path / f"{number}.pt").write_bytes(content)
        refuse(tmp_path / f"{number}.pt", "not a checkpoint of tensors alone", tmp_path)
    (tmp_path / "a.whl").write_bytes(b"no zip")
    refuse(tmp_path / "a.whl", "is no wheel, or damaged", tmp_path)
    with zipfile.ZipFile(tmp_path / "b.whl", "w") as wheel:
        wheel.writestr("other", "x")
    refuse(tmp_path / "b.whl", "holds no resemblyzer/pretrained.pt", tmp_path)
    refuse(tmp_path / "none.pt", "no such file", tmp_path)


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data/0", "w") as entry:
        for _ in range(300):
            entry.write(bytes(1 << 20))
    refuse(tmp_path / "bomb.pt", "at most 268435456 are read", tmp_path)


def test_without_padding_the_last_window_is_moved_back(tmp_path, rng):
    run(import_model, write(tmp_path / "pretrained.pt", state()), tmp_path / "model", "--no-preprocess", "--padding", "none")
    samples = rng.normal(scale=0.1, size=48000).astype(np.float32)
    mels = mel_spectrogram(samples, MelSpectrogramConfig(log="none"))
    total = np.sum([slow_embedding(state(), mels[start : start + 160]) for start in (0, 80, 141)], axis=0)
    np.testing.assert_allclose(Embedder(tmp_path / "model").embed(samples).vector, total / np.linalg.norm(total), rtol=0, atol=1e-5)


def test_options_of_graphs_are_not_passed_over(tmp_path):
    path = write(tmp_path / "p.pt", state())
    assert "--window is not for resemblyzer" in run(import_model, path, tmp_path / "out", "--window", 3, expected=2).stderr
    assert "--padding is not for onnx" in run(import_model, path, tmp_path / "out", "--kind", "onnx", "--padding", "all", expected=2).stderr


def test_the_command_names_every_padding():
    assert command_paddings == PADDINGS
