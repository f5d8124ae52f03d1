"""Digests of tables: other archives under an index of the same bytes are other data, and nothing large is read."""

from __future__ import annotations

import os

import numpy as np
import pytest

from sv_toolkit.data.digests import tables_digest
from sv_toolkit.io.archives import write_ark_scp
from sv_toolkit.io.files import sha256_bytes
from sv_toolkit.io.manifest import Manifest, describe_file, write_manifest

NAMES = ("utt2spk", "feats.scp")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "utt2spk").write_text("u s\n")
    write(tmp_path, 0)
    return tmp_path


def write(folder, value):
    """Features whose index has the same bytes for every value."""
    write_ark_scp(folder, "feats", {"u": np.full((3, 2), value, np.float32)})
    write_manifest(folder, Manifest("fbank", {}, files={name: describe_file(folder / name) for name in ("feats.ark", "feats.scp")}))


def later(path):
    """As if the file had been written again."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def test_other_archives_under_the_same_index_are_other_data(folder):
    before, index = tables_digest(folder, NAMES), (folder / "feats.scp").read_bytes()
    write(folder, 1)
    assert (folder / "feats.scp").read_bytes() == index
    after = tables_digest(folder, NAMES)
    assert {name for name in after if after[name] != before[name]} == {"archives of feats.scp"}


def test_the_time_of_an_archive_counts_only_where_no_manifest_knows_it(folder):
    before = tables_digest(folder, NAMES)
    later(folder / "feats.ark")
    assert tables_digest(folder, NAMES) == before
    (folder / "fbank.manifest.json").unlink()
    without = tables_digest(folder, NAMES)
    assert without != before
    later(folder / "feats.ark")
    assert tables_digest(folder, NAMES) != without


def test_the_manifest_beside_the_archive_counts_wherever_the_index_lies(folder, tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "feats.scp").write_bytes((folder / "feats.scp").read_bytes())
    before = tables_digest(tmp_path / "part", NAMES)
    later(folder / "feats.ark")
    assert tables_digest(tmp_path / "part", NAMES) == before
    write(folder, 1)
    assert tables_digest(tmp_path / "part", NAMES) != before


@pytest.mark.parametrize("ending", ["[0:1]", "[0:1,0:0]"])
def test_ranges_belong_to_the_archive(folder, ending):
    before = tables_digest(folder, NAMES)["archives of feats.scp"]
    (folder / "feats.scp").write_text((folder / "feats.scp").read_text().strip() + ending + "\n")
    assert tables_digest(folder, NAMES)["archives of feats.scp"] == before


def test_tables_without_archives_have_the_digest_of_their_bytes(folder):
    assert tables_digest(folder, ["utt2spk", "vad.scp"]) == {"utt2spk": sha256_bytes(b"u s\n")}
    assert tables_digest(folder, ["feats.scp"], indices=()) == {"feats.scp": sha256_bytes((folder / "feats.scp").read_bytes())}


@pytest.mark.parametrize("text", ["", "u\n", "u \0:5\n", "u cat x |\n", "u missing.ark:5\n", "u missing.ark:5]\n"])
def test_a_damaged_index_has_a_digest(folder, text):
    (folder / "feats.scp").write_text(text)
    assert tables_digest(folder, ["feats.scp"]).keys() == {"feats.scp", "archives of feats.scp"}
