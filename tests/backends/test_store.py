"""The folder of a back end: round trips, whole or absent, and every way in which it can be damaged."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save

from sv_toolkit.backends.store import load_backend, read_stored, save_backend
from sv_toolkit.backends.transforms import Center
from sv_toolkit.errors import ModelError
from sv_toolkit.io.files import sha256_bytes


@pytest.fixture
def folder(tmp_path):
    save_backend(tmp_path / "backend", "center", Center().fit(np.array([[1.0, 2.0], [3.0, 5.0]])), {"counts": {"utterances": 2}})
    return tmp_path / "backend"


def rewrite(folder, arrays, **changes):
    """Other arrays with a matching digest: what someone with a text editor and time could make."""
    blob = arrays if isinstance(arrays, bytes) else save(arrays)
    (folder / "backend.safetensors").write_bytes(blob)
    content = json.loads((folder / "backend.json").read_text())
    (folder / "backend.json").write_text(json.dumps({**content, "arrays": {"size": len(blob), "sha256": sha256_bytes(blob)}, **changes}))


def refused(folder, match):
    with pytest.raises(ModelError, match=match) as caught:
        load_backend(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_what_is_known_is_read_back(folder):
    stored = read_stored(folder)
    assert stored.provenance == {"counts": {"utterances": 2}}
    assert (folder / "backend.safetensors").stat().st_size == stored.size


def test_a_covariance_that_is_none_is_refused(folder):
    arrays = {"mean": np.zeros(2), "within_covariance": np.array([[1.0, 2], [2, 1]]), "between_covariance": np.eye(2)}
    rewrite(folder, arrays, backend="two-covariance", config={})
    refused(folder, "within_covariance is not positive definite")


def test_another_kind_of_back_end_is_refused(folder):
    with pytest.raises(ModelError, match="of the kind center, whiten is needed"):
        load_backend(folder, "whiten")


def test_truncated_and_changed_arrays_are_refused(folder):
    path = folder / "backend.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    refused(folder, "truncated, or the arrays of another folder")
    path.write_bytes(content[:-1] + b"\1")
    refused(folder, "corrupt: its checksum")
    path.unlink()
    refused(folder, "missing")


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"mean": np.zeros(2), "extra": np.zeros(2)}, r"1 unexpected \(extra\)"),
        ({}, r"1 missing arrays \(mean\)"),
        ({"mean": np.zeros((2, 2))}, r"mean has shape \(2, 2\), dim is needed"),
        ({"mean": np.array([0, np.inf])}, "not finite"),
        ({"mean": np.zeros(2, np.float32)}, "float64 is needed"),
        (b"\xff" * 8 + b"{}", "not a safetensors file"),
        (b"", "not a safetensors file"),
        (b"\x80\x04cos\nsystem\n", "not a safetensors file"),
    ],
)
def test_arrays_that_are_not_those_of_the_back_end_are_refused(folder, arrays, match):
    rewrite(folder, arrays)
    refused(folder, match)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"backend": "os.system"}, "no back end 'os.system'; known: center"),
        ({"config": {"dim": 3}}, "unknown key 'dim'"),
        ({"format": 2}, "format version 2"),
        ({"provenance": {"job": 3}}, "not the description of a back end"),
        ({"provenance": None}, "not the description of a back end"),
        ({"config": 3}, "not the description of a back end"),
    ],
)
def test_descriptions_that_make_no_sense_are_refused(folder, changes, match):
    rewrite(folder, {"mean": np.zeros(2)}, **changes)
    refused(folder, match)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"format": 1}', "\xff\xfe"])
def test_text_that_is_no_description_is_refused(folder, text):
    (folder / "backend.json").write_text(text, encoding="latin-1")
    refused(folder, "not the description of a back end")


def test_what_is_no_folder_is_refused(folder, tmp_path):
    for path, match in ((tmp_path / "none", "no such folder"), (folder / "backend.json", "is a file")):
        with pytest.raises(ModelError, match=match):
            load_backend(path)


def test_a_failed_write_leaves_the_old_back_end(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        save_backend(folder, "center", Center().fit(np.ones((3, 2))), {})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
