"""A type of features and a detector are a file and a line: those of CONTRIBUTING.md work everywhere."""

from __future__ import annotations

import importlib
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sv_toolkit.cli import COMMANDS
from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.embeddings.waveform import Embedder
from sv_toolkit.features import registry
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.io.archives import ScpReader, read_vectors
from sv_toolkit.io.audio import AudioRequest, read_waveform
from sv_toolkit.io.tables import read_table
from sv_toolkit.models.store import Description, WindowConfig, make_network, save_model

GUIDE = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def added(monkeypatch):
    """The file of the guide, and its two lines."""
    source = next(code for code in re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE) if "BandConfig" in code)
    module = types.ModuleType("sv_toolkit.features.bands")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, "CONTRIBUTING.md", "exec"), module.__dict__)
    for kind, table in (("Feature", registry.FEATURES), ("Vad", registry.VADS)):
        name, arguments = re.search(rf'`"(\w+)": {kind}\((.*?)\),`', GUIDE).groups()
        monkeypatch.setitem(table, name, getattr(registry, kind)(*[word.strip('" ') for word in arguments.split(",")]))
    return module


def run(name, *arguments, code=0):
    """A command as it is after the lines were added: choices are made when its module is read."""
    for loaded in ("feature_options", COMMANDS[name]):
        importlib.reload(importlib.import_module(f"sv_toolkit.cli.{loaded}"))
    command = importlib.import_module(f"sv_toolkit.cli.{COMMANDS[name]}").command
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], prog_name=name)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def model(added, data, tmp_path):
    """Features and decisions by the added ones, and a small network that remembers how they were made."""
    run("sv-extract-features", "bands", data, "--set", "num_bands=6", "--nj", 1)
    (tmp_path / "vad.toml").write_text("[vad]\nkind = 'peak'\nmin_frames = 5\n[vad.peak]\nthreshold = 0.02\n")
    run("sv-compute-vad", data, "--config", tmp_path / "vad.toml", "--nj", 1)
    index = FeatureIndex(data, need_vad=True)
    network = {"hidden_size": 8, "projection_size": 0, "num_layers": 1, "embedding_dim": 5, "pooling": "mean", "dropout": 0.0}
    description = Description("lstm", network, 6, InputConfig(), WindowConfig(20, 10, 8), index.made_by())
    save_model(tmp_path / "model", make_network(description).state_dict(), description)
    return tmp_path / "model"


def test_features_and_decisions_are_those_of_the_functions(added, model, data, voices):
    features, vad = ScpReader(data / "feats.scp"), ScpReader(data / "vad.scp")
    made = FeatureIndex(data, need_vad=True).made_by()
    assert made["bands"]["config"]["num_bands"] == 6
    assert made["vad"]["config"]["peak"] == {"threshold": 0.02}
    assert set(read_table(data / "utt2num_frames")) == set(voices)
    for key in voices:
        assert features.read(key).shape[1] == 6
        assert len(vad.read(key)) == len(features.read(key))
    samples = read_waveform(AudioRequest(read_table(data / "wav.scp")["s0-u0"], "", "s0-u0")).samples
    np.testing.assert_array_equal(features.read("s0-u0"), added.bands(samples, added.BandConfig(num_bands=6)))


def test_a_model_of_them_embeds_recordings_as_it_embeds_features(model, data, tmp_path):
    run("sv-extract-dvector", model, data, tmp_path / "out", "--nj", 1)
    vectors = read_vectors(tmp_path / "out" / "dvector.scp")
    vectors = vectors if isinstance(vectors, dict) else dict(zip(*vectors))
    wav = read_table(data / "wav.scp")
    embedder = Embedder(model)
    for key in wav:
        np.testing.assert_allclose(embedder.embed_file(wav[key]).vector, vectors[key], atol=1e-6)


def test_parts_and_jobs_take_them_too(added, data, tmp_path):
    run("sv-extract-features", "bands", data, tmp_path / "whole", "--nj", 2)
    for part in ("1/2", "2/2"):
        run("sv-extract-features", "bands", data, tmp_path / "parts", "--part", part, "--nj", 1)
    run("sv-extract-features", "bands", data, tmp_path / "parts", "--join", 2)
    assert (tmp_path / "parts" / "feats.0000.ark").read_bytes() == (tmp_path / "whole" / "feats.0000.ark").read_bytes()


def test_what_needs_mel_powers_refuses_them_by_name(model, data, tmp_path):
    assert "these are bands" in run("sv-extract-control", data, tmp_path / "control", code=1).stderr


def test_other_features_are_refused_by_the_model(model, data, tmp_path):
    run("sv-extract-fbank", data, tmp_path / "fbank", "--num-mel-bins", 6, "--nj", 1)
    run("sv-compute-vad", tmp_path / "fbank", "--kind", "energy", "--nj", 1)
    refused = run("sv-extract-dvector", model, tmp_path / "fbank", tmp_path / "out", "--nj", 1, code=1)
    assert "features are fbank" in refused.stderr and "needs bands" in refused.stderr
