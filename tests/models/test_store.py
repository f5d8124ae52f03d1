"""The model folder: round trips, and refusals of everything that is damaged, foreign or hostile."""

from __future__ import annotations

import json
import pickle

import pytest
import torch

from sv_toolkit.errors import ModelError
from sv_toolkit.features.prepare import InputConfig
from sv_toolkit.models.store import Description, WindowConfig, load_model, make_network, model_digest, save_model

NETWORK = {"hidden_size": 8, "projection_size": 0, "num_layers": 1, "embedding_dim": 4, "pooling": "mean", "dropout": 0.0}


@pytest.fixture
def description():
    return Description(
        "lstm",
        NETWORK,
        5,
        InputConfig(cmvn="utterance", scale=0.5),
        WindowConfig(20, 10, 5),
        {"fbank": {"config": {"num_mel_bins": 5}}},
        {"seed": 3},
    )


@pytest.fixture
def folder(tmp_path, description):
    save_model(tmp_path / "model", make_network(description).state_dict(), description)
    return tmp_path / "model"


def test_model_survives_the_round_trip(folder, description):
    network, read = load_model(folder)
    assert read == description
    again = make_network(read)
    again.load_state_dict(network.state_dict())
    batch = torch.randn(2, 6, 5)
    torch.testing.assert_close(network(batch), again(batch), rtol=0, atol=0)
    assert not network.training


def test_the_same_weights_write_the_same_bytes(folder, tmp_path, description):
    save_model(tmp_path / "copy", load_model(folder)[0].state_dict(), description)
    for name in ("model.safetensors", "model.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()
    assert model_digest(folder) == model_digest(tmp_path / "copy")


def test_files_are_not_world_readable(folder):
    assert all(path.stat().st_mode & 0o007 == 0 for path in folder.iterdir())


def damage(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model.safetensors", lambda b: b[: len(b) // 2], "truncated"),
        ("model.safetensors", lambda b: b[:-1], "truncated"),
        ("model.safetensors", lambda b: b[:-40] + bytes(40), "checksum"),
        ("model.safetensors", lambda b: b"", "truncated"),
        ("model.json", lambda b: b[: len(b) // 2], "truncated"),
        ("model.json", lambda b: b"[" * 100_000, "not the description of a model"),
        ("model.json", lambda b: b.replace(b'"format": 1', b'"format": 999'), "999.*version 1"),
        ("model.json", lambda b: b.replace(b'"lstm"', b'"gru9"'), "no architecture"),
        ("model.json", lambda b: b.replace(b'"hidden_size"', b'"hidden_sise"'), "did you mean 'hidden_size'"),
    ],
)
def test_damage_is_refused_in_one_line(folder, name, change, message):
    damage(folder, name, change)
    with pytest.raises(Exception, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused_by_name(folder, tmp_path, description):
    other = tmp_path / "other"
    wide = Description("lstm", {**NETWORK, "num_layers": 2}, 5, description.input, description.windows)
    save_model(other, make_network(wide).state_dict(), description)
    with pytest.raises(ModelError, match="4 unexpected .lstm"):
        load_model(other)


def test_weights_that_are_not_finite_are_refused(folder, tmp_path, description):
    weights = make_network(description).state_dict()
    weights["linear.bias"][0] = float("nan")
    save_model(tmp_path / "nan", weights, description)
    with pytest.raises(ModelError, match="linear.bias holds values that are not finite"):
        load_model(tmp_path / "nan")


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_refused_and_never_run(folder, tmp_path):
    blob = pickle.dumps(Canary(tmp_path / "ran"))
    damage(folder, "model.safetensors", lambda _: blob)
    content = json.loads((folder / "model.json").read_text())
    import hashlib

    content["weights"] = {"size": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
    (folder / "model.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_model(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs"),
        (b"<!DOCTYPE html>", "download"),
        (b"", "empty or truncated"),
        (b"\x80\x02x", "is a file"),
    ],
)
def test_a_file_in_place_of_the_folder_is_explained(tmp_path, content, message):
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path / "model")


def test_missing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(ModelError, match="no such folder; sv-train makes a model"):
        load_model(tmp_path / "nofile")
    with pytest.raises(ModelError, match="is not a model, or sv-train has not finished it"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("option", "value"), [("hidden_size", 10_000_000), ("hidden_size", 1 << 62), ("num_layers", 100_000_000), ("embedding_dim", 1 << 40)]
)
def test_a_description_that_asks_for_more_than_its_weights_is_refused_before_memory_is_taken(folder, option, value):
    content = json.loads((folder / "model.json").read_text())
    content["network"][option] = value
    (folder / "model.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="does not fit the architecture|has shape") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
