"""A manifest says whether work is done and unchanged; it holds nothing that differs between two runs."""

from __future__ import annotations

import json

import pytest

from sv_toolkit.errors import DataError
from sv_toolkit.io.manifest import (
    Manifest,
    damaged_files,
    describe_file,
    digest_of,
    is_finished,
    made_with,
    manifest_path,
    read_manifest,
    write_manifest,
)

JOB = {"what": "feats", "config": {"num_mels": 40, "dither": 0.0}, "ids": ["ид", "a"]}


@pytest.fixture
def done(tmp_path):
    (tmp_path / "feats.ark").write_bytes(b"0123456789")
    (tmp_path / "feats.scp").write_text(f"u {tmp_path}/feats.ark:2\n")
    write_manifest(tmp_path, Manifest("feats", JOB, {"utterances": 1}, described(tmp_path)))
    return tmp_path


def described(directory):
    return {name: describe_file(directory / name) for name in ("feats.ark", "feats.scp")}


def test_what_is_written_is_read(done):
    assert read_manifest(done, "feats") == Manifest("feats", JOB, {"utterances": 1}, described(done))


def test_without_a_manifest_nothing_is_finished(tmp_path):
    assert read_manifest(tmp_path, "feats") is None
    assert not is_finished(tmp_path, "feats", JOB)


def test_only_the_same_job_is_finished(done):
    assert is_finished(done, "feats", JOB)
    assert not is_finished(done, "feats", {**JOB, "config": {"num_mels": 41}})
    assert not is_finished(done, "vad", JOB)


@pytest.mark.parametrize("name", ["feats.ark", "feats.scp"])
@pytest.mark.parametrize("damage", ["delete", "shorten", "change"])
def test_a_damaged_file_is_named_and_the_work_is_not_finished(done, name, damage):
    path = done / name
    data = path.read_bytes()
    path.unlink()
    if damage != "delete":
        path.write_bytes(data[:-1] if damage == "shorten" else data[:-2] + b"x" + data[-1:])
    (finding,) = damaged_files(done, read_manifest(done, "feats"), thorough=True)
    assert finding.startswith(f"{name} ")
    assert not is_finished(done, "feats", JOB)


def test_large_files_are_compared_by_size_until_thoroughness_is_asked_for(done, monkeypatch):
    monkeypatch.setattr("sv_toolkit.io.manifest.LARGE", 5)
    (done / "feats.ark").write_bytes(b"012345678x")
    assert is_finished(done, "feats", JOB)
    assert damaged_files(done, read_manifest(done, "feats"), thorough=True) == [
        "feats.ark is corrupt: its checksum is not the one recorded when it was written"
    ]


def test_the_same_work_has_the_same_manifest_in_every_directory(tmp_path):
    texts = []
    for name in ("a", "b c"):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "feats.ark").write_bytes(b"0123456789")
        (directory / "feats.scp").write_text(f"u {directory}/feats.ark:2\n")
        write_manifest(directory, Manifest("feats", dict(reversed(JOB.items())), {"utterances": 1}, described(directory)))
        texts.append(manifest_path(directory, "feats").read_bytes())
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "null", '{"format": 1}', '{"format": 2, "job": {}, "counts": {}, "files": {}}', "[" * 100_000, "\0"]
    + [
        json.dumps({"format": 1, "job": {}, "counts": {}, "files": files})
        for files in ([], {"a": 3}, {"a": {}}, {"a": {"size": "x", "sha256": ""}})
    ],
)
def test_a_damaged_manifest_is_refused_with_a_way_out(tmp_path, text):
    manifest_path(tmp_path, "feats").write_text(text)
    with pytest.raises(DataError, match=r"feats\.manifest\.json: .*--overwrite"):
        read_manifest(tmp_path, "feats")


def test_a_manifest_that_is_not_text_is_refused(tmp_path):
    manifest_path(tmp_path, "feats").write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match="damaged manifest"):
        read_manifest(tmp_path, "feats")


def test_equal_values_have_equal_digests_whatever_their_order():
    assert digest_of({"a": 1, "b": [1, 2]}) == digest_of({"b": [1, 2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    assert digest_of([1, 2]) != digest_of([2, 1])


@pytest.mark.parametrize("name", ["../victim", "/etc/victim", "a/../../victim", "..", "", "a\0b", "a\x1b[2J"])
def test_a_manifest_that_names_files_of_other_places_is_damaged(done, name):
    path = manifest_path(done, "feats")
    content = json.loads(path.read_text())
    content["files"][name] = {"size": 1, "sha256": "x"}
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="damaged manifest"):
        read_manifest(done, "feats")


@pytest.mark.parametrize("job", [{}, {"config": 3}, {"config": None}])
def test_options_that_a_manifest_does_not_tell_are_an_error_and_no_manifest_is_none(tmp_path, job):
    assert made_with(tmp_path, "fbank") is None
    write_manifest(tmp_path, Manifest("fbank", job))
    with pytest.raises(DataError, match="fbank.manifest.json: does not say with which options; --overwrite"):
        made_with(tmp_path, "fbank")
