"""Extraction over shards: same bytes for any number of jobs, nothing lost in silence, foreign features refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading

import numpy as np
import pytest

from sv_toolkit.embeddings import extract
from sv_toolkit.embeddings.extract import Options, extract_dvectors
from sv_toolkit.errors import ModelError, OutputError, TooManyBadError
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.io.archives import ScpReader, write_ark_scp
from sv_toolkit.io.tables import write_table
from sv_toolkit.models.store import Description, WindowConfig, make_network, save_model

DIM = 6


@pytest.fixture
def model(tmp_path):
    network = {"hidden_size": 8, "projection_size": 0, "num_layers": 1, "embedding_dim": 5, "pooling": "mean", "dropout": 0.0}
    description = Description("lstm", network, DIM, InputConfig(), WindowConfig(20, 10, 8))
    save_model(tmp_path / "model", make_network(description).state_dict(), description)
    return tmp_path / "model"


@pytest.fixture
def data(tmp_path, rng):
    return write_data(tmp_path / "data", {f"s{i % 4}-u{i:02d}": rng.standard_normal((int(rng.integers(20, 70)), DIM)) for i in range(21)})


def write_data(folder, features):
    folder.mkdir(exist_ok=True)
    features = {key: np.asarray(value, np.float32) for key, value in features.items()}
    write_ark_scp(folder, "feats", features)
    write_ark_scp(folder, "vad", {key: np.ones(len(value), np.float32) for key, value in features.items()})
    write_table(folder / "utt2spk", {key: key.split("-")[0] for key in features})
    return folder


def content(folder):
    """Digests of all files, blind to the folder's own name."""
    return {
        path.name: hashlib.sha256(path.read_bytes().replace(str(folder).encode(), b"@")).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_number_of_jobs_does_not_change_a_byte(model, data, tmp_path):
    for num_jobs in (1, 2):
        extract_dvectors(model, data, tmp_path / f"out{num_jobs}", Options(num_jobs=num_jobs))
    assert {"dvector.scp", "dvector.0000.ark", "dvector.manifest.json", "utt2spk", "skipped.tsv"} <= content(tmp_path / "out1").keys()
    first, second = content(tmp_path / "out1"), content(tmp_path / "out2")
    del first["dvector.manifest.json"], second["dvector.manifest.json"]  # holds the digest of the scp, which holds the path
    assert first == second


def test_short_and_silent_utterances_are_skipped_and_named(model, tmp_path, rng, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    data = write_data(tmp_path / "data", {"a-1": rng.standard_normal((30, DIM)), "a-2": rng.standard_normal((7, DIM))})
    with pytest.raises(TooManyBadError, match="a-2: too short: 7 frames"):
        extract_dvectors(model, data, tmp_path / "out", Options())
    assert not (tmp_path / "out/dvector.scp").exists()
    assert extract_dvectors(model, data, tmp_path / "out", Options(max_bad=1)) == 1
    assert "a-2: too short" in caplog.text
    assert (tmp_path / "out/skipped.tsv").read_text().startswith("a-2\tsv-extract-dvector\ttoo short")
    assert list(ScpReader(tmp_path / "out/dvector.scp").keys()) == ["a-1"]


def test_finished_work_is_left_alone_and_lost_files_are_made_again(model, data, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("sv_toolkit"), "propagate", True)
    caplog.set_level(logging.INFO, "sv_toolkit")
    extract_dvectors(model, data, tmp_path / "out", Options())
    before = content(tmp_path / "out")
    extract_dvectors(model, data, tmp_path / "out", Options())
    assert "nothing to do" in caplog.text
    (tmp_path / "out/dvector.scp").unlink()
    extract_dvectors(model, data, tmp_path / "out", Options())
    assert content(tmp_path / "out") == before


def test_another_models_dvectors_are_not_overwritten_unasked(model, data, tmp_path):
    extract_dvectors(model, data, tmp_path / "out", Options())
    with pytest.raises(OutputError, match="--overwrite"):
        extract_dvectors(model, data, tmp_path / "out", Options(window=15))
    extract_dvectors(model, data, tmp_path / "out", Options(window=15, overwrite=True))
    assert json.loads((tmp_path / "out/dvector.manifest.json").read_text())["job"]["config"]["window"] == 15


def test_features_of_another_width_or_other_options_are_refused(model, tmp_path, rng):
    wide = write_data(tmp_path / "wide", {"a-1": rng.standard_normal((30, 2 * DIM))})
    with pytest.raises(ModelError, match="12 columns, the model .* needs 6"):
        extract_dvectors(model, wide, tmp_path / "out", Options())
    content_ = json.loads((model / "model.json").read_text())
    content_["features"] = {"fbank": {"config": {"low_freq": 20.0}}}
    (model / "model.json").write_text(json.dumps(content_))
    narrow = write_data(tmp_path / "narrow", {"a-1": rng.standard_normal((30, DIM))})
    (narrow / "fbank.manifest.json").write_text(json.dumps({"format": 1, "job": {"config": {"low_freq": 64.0}}, "counts": {}, "files": {}}))
    with pytest.raises(ModelError, match="low_freq 64.0 instead of 20.0"):
        extract_dvectors(model, narrow, tmp_path / "out", Options())


def test_features_made_anew_with_the_same_shapes_are_other_data(model, data, tmp_path):
    reader = ScpReader(data / "feats.scp")
    features = {key: reader.read(key) for key in reader}
    write_data(data, features)
    index = (data / "feats.scp").read_bytes()
    extract_dvectors(model, data, tmp_path / "out", Options())
    write_data(data, {key: matrix + 1 for key, matrix in features.items()})
    assert (data / "feats.scp").read_bytes() == index
    with pytest.raises(OutputError, match="--overwrite"):
        extract_dvectors(model, data, tmp_path / "out", Options())


@pytest.mark.parametrize("use_vad", [True, False])
def test_other_decisions_are_refused_only_where_the_model_reads_them(model, data, tmp_path, use_vad):
    content_ = json.loads((model / "model.json").read_text())
    content_["features"], content_["input"]["use_vad"] = {"vad": {"config": {"kind": "webrtc"}}}, use_vad
    (model / "model.json").write_text(json.dumps(content_))
    (data / "vad.manifest.json").write_text(json.dumps({"format": 1, "job": {"config": {"kind": "energy"}}, "counts": {}, "files": {}}))
    refusal = pytest.raises(ModelError, match="kind energy instead of webrtc") if use_vad else contextlib.nullcontext()
    with refusal:
        extract_dvectors(model, data, tmp_path / "out", Options())


def test_reading_ahead_as_for_a_gpu_gives_the_same_vectors_and_reasons(model, tmp_path, rng, monkeypatch):
    features = {f"s{i % 4}-u{i:02d}": rng.standard_normal((7 if i == 5 else int(rng.integers(20, 70)), DIM)) for i in range(21)}
    data = write_data(tmp_path / "data", features)
    extract_dvectors(model, data, tmp_path / "whole", Options(num_jobs=1, max_bad=1))
    monkeypatch.setattr(extract, "_num_read_ahead", lambda *_: 3)
    extract_dvectors(model, data, tmp_path / "ahead", Options(num_jobs=1, max_bad=1))
    whole, ahead = (ScpReader(tmp_path / name / "dvector.scp") for name in ("whole", "ahead"))
    assert list(whole.keys()) == list(ahead.keys()) and len(list(ahead.keys())) == 20
    for key in list(whole.keys()):
        np.testing.assert_allclose(ahead.read(key), whole.read(key), atol=1e-6)
    assert (tmp_path / "ahead/skipped.tsv").read_text() == (tmp_path / "whole/skipped.tsv").read_text()


def test_the_next_chunk_is_read_while_the_caller_has_the_current_one():
    read, second_is_read = [], threading.Event()

    def note(chunk):
        read.append(chunk)
        if chunk == ["b"]:
            second_is_read.set()
        if chunk == ["d"]:
            raise ValueError("damaged")
        return chunk

    chunks = extract._read_ahead(note, [["a"], ["b"], ["c"], ["d"]])
    assert next(chunks) == ["a"]
    assert second_is_read.wait(30) and ["d"] not in read
    assert [next(chunks), next(chunks)] == [["b"], ["c"]]
    with pytest.raises(ValueError, match="damaged"):
        next(chunks)
