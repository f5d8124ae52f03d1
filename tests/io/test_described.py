"""Described arrays: fixed bytes, round trip, and one line for all that is damaged or hostile."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from sv_toolkit import __version__
from sv_toolkit.errors import DataError, ModelError
from sv_toolkit.io.described import Keeper, decoded

KEEPER = Keeper("thing", "arrays", "a thing", "sv-make-thing")
ARRAYS = {"a": np.arange(6, dtype=np.float64).reshape(2, 3), "b": np.ones(2, np.float32)}


def parse(content, where):
    return {"size": int(content["own"]["size"]), "where": where}


@pytest.fixture
def folder(tmp_path):
    KEEPER.save(tmp_path / "x", save(ARRAYS), {"own": {"size": 3}})
    return tmp_path / "x"


def read(folder):
    content, known = KEEPER.read(folder, parse)
    return content, KEEPER.load(folder, known, load)


def test_arrays_and_description_survive_the_round_trip(folder):
    content, arrays = read(folder)
    assert content == {"size": 3, "where": str(folder / "thing.json")}
    assert arrays.keys() == ARRAYS.keys()
    assert all(np.array_equal(arrays[name], array) and arrays[name].dtype == array.dtype for name, array in ARRAYS.items())


def test_the_files_have_the_bytes_that_older_versions_wrote(folder):
    blob = (folder / "thing.safetensors").read_bytes()
    assert blob == save(ARRAYS)
    content = json.loads((folder / "thing.json").read_text())
    assert content.keys() == {"format", "toolkit_version", "own", "arrays"}
    assert (content["format"], content["toolkit_version"], content["arrays"]["size"]) == (1, __version__, len(blob))
    assert (folder / "thing.json").read_text() == json.dumps(content, indent=1, sort_keys=True) + "\n"


def damage(text):
    return lambda path: path.write_bytes(text)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("thing.json", Path.unlink, "thing.json: missing: .* is not a thing, or sv-make-thing has not finished it"),
        ("thing.json", damage(b"{"), "not the description of a thing"),
        ("thing.json", damage(b"[]"), "not the description of a thing"),
        ("thing.json", damage(b"[" * 100_000), "not the description of a thing"),
        ("thing.json", damage(b'{"format": 2}'), "format version 2, this toolkit .* reads version 1"),
        ("thing.json", damage(b'{"format": 1, "arrays": {"size": 1, "sha256": "0"}}'), "not the description of a thing"),
        ("thing.json", lambda path: os.truncate(path, 1 << 25), "too large for the description of a thing"),
        ("thing.safetensors", Path.unlink, "thing.safetensors: missing"),
        ("thing.safetensors", damage(b""), "0 bytes, .* were written: truncated"),
        (
            "thing.safetensors",
            lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\1"),
            "corrupt: its checksum is not the one in thing.json",
        ),
    ],
)
def test_damage_is_one_line_that_names_the_file(folder, name, change, message):
    change(folder / name)
    with pytest.raises(ModelError, match=message) as caught:
        read(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_what_is_no_folder_is_refused(folder, tmp_path):
    with pytest.raises(ModelError, match="none: no such folder; sv-make-thing makes a thing"):
        read(tmp_path / "none")
    with pytest.raises(ModelError, match="is a file; a thing is a folder with thing.safetensors and thing.json"):
        read(folder / "thing.json")


@pytest.mark.parametrize("blob", [b"", b"\xff" * 8 + b"{}", b"\x80\x04cos\nsystem\n", b"PK\3\4"])
def test_bytes_of_another_format_are_refused_and_never_run(blob, tmp_path):
    with pytest.raises(DataError, match="x: not a safetensors file"):
        decoded(tmp_path / "x", blob, load, DataError)
