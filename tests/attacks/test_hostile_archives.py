"""Damaged and hostile archives: one line that names the utterance, never a wrong array, never code, never memory for lies."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sv_toolkit.errors import ArchiveError, DataError
from sv_toolkit.io.archives import ScpReader, encode_record, read_ark, read_scp, read_vectors, write_ark_scp

KEYS = [f"spk{i}-u{j}" for i in (1, 2) for j in (1, 2, 3)]


class Corpus:
    """Six matrices in `feats.ark`, and tools to damage it."""

    def __init__(self, directory):
        self.directory, self.ark, self.scp = directory, directory / "feats.ark", directory / "feats.scp"
        rng = np.random.default_rng(5)
        self.matrices = {key: rng.normal(4, 3, (30, 8)).astype(np.float32) for key in KEYS}
        write_ark_scp(directory, "feats", self.matrices)
        self.data = self.ark.read_bytes()
        self.offset = {key: int(line.rsplit(":", 1)[1]) for key, line in zip(KEYS, self.scp.read_text().splitlines())}

    def point(self, offsets=None, ark=None):
        offsets = {**self.offset, **(offsets or {})}
        self.scp.write_text("".join(f"{key} {ark or self.ark}:{offsets[key]}\n" for key in KEYS))

    def put(self, key, record):
        """`record` in place of the one of `key`; the offsets move along."""
        arrays = {**{k: encode_record(k, m) for k, m in self.matrices.items()}, key: key.encode() + b" " + record}
        offsets, data = {}, b""
        for k in KEYS:
            offsets[k] = len(data) + len(k) + 1
            data += arrays[k]
        self.ark.write_bytes(data)
        self.point(offsets)

    def refused(self, key, pattern):
        """Reading `key` names it, the scp line, the archive and the offset; everything before it is read as it was."""
        reader = ScpReader(self.scp)
        for before in KEYS[: KEYS.index(key)]:
            assert np.array_equal(reader.read(before), self.matrices[before])
        with pytest.raises(ArchiveError, match=pattern) as caught:
            reader.read(key)
        line = f"feats.scp:{KEYS.index(key) + 1}"
        location = reader.locations[key]
        assert str(caught.value).startswith(f"{key}: {self.directory}/{line}: {location.path}:{location.offset}: ")
        assert "\n" not in str(caught.value)
        with pytest.raises(ArchiveError, match=pattern):
            reader.shape(key)


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path)


def test_a_missing_archive_is_named_with_a_hint_about_relative_paths(corpus):
    corpus.point(ark="nofile.ark")
    corpus.refused("spk1-u1", "no such file; the path is relative: it is looked up in the current directory, ")
    corpus.point(ark="/nowhere/nofile.ark")
    corpus.refused("spk1-u1", "no such file$")


@pytest.mark.parametrize("where", ["device", "pipe", "directory"])
def test_only_regular_files_are_read(corpus, where):
    if where == "pipe":
        os.mkfifo(corpus.directory / "pipe")
    corpus.point(ark={"device": "/dev/zero", "pipe": corpus.directory / "pipe", "directory": corpus.directory}[where])
    corpus.refused("spk1-u1", "not a regular file")


def test_an_archive_cut_inside_a_matrix_is_truncated(corpus):
    corpus.ark.write_bytes(corpus.data[: corpus.offset["spk2-u1"] + 300])
    corpus.refused("spk2-u1", "truncated: its header says FM of size 30 x 8, 960 bytes, and the file holds 285 more")


@pytest.mark.parametrize("kept", [1, 2, 3, 6, 9, 14])
def test_an_archive_cut_inside_a_header_is_refused(corpus, kept):
    corpus.ark.write_bytes(corpus.data[: corpus.offset["spk2-u1"] + kept])
    corpus.refused("spk2-u1", "truncated|unknown record type|not a Kaldi record|damaged")


def test_an_archive_cut_between_two_matrices_is_truncated(corpus):
    corpus.ark.write_bytes(corpus.data[: corpus.offset["spk2-u1"] - len("spk2-u1 ")])
    corpus.refused("spk2-u1", "truncated: the offset lies at or past the end of the file")


def test_an_archive_that_is_cut_while_it_is_open_is_truncated(corpus):
    reader = ScpReader(corpus.scp)
    reader.read("spk2-u3")
    os.truncate(corpus.ark, corpus.offset["spk2-u3"] + 100)
    with pytest.raises(ArchiveError, match=r"spk2-u3: .*truncated: 960 bytes are needed, 85 are there"):
        reader.read("spk2-u3")


def test_swapped_offsets_name_both_utterances(corpus):
    a, b = "spk1-u1", "spk2-u1"
    corpus.point({a: corpus.offset[b], b: corpus.offset[a]})
    corpus.refused(a, f"the record there belongs to {b}, not to {a}")


def test_an_id_that_ends_another_is_not_taken_for_it(tmp_path):
    records = {"sp0.9-u1": np.zeros((3, 2), np.float32), "u1": np.ones((3, 2), np.float32)}
    scp = write_ark_scp(tmp_path, "feats", records)
    first, second = scp.read_text().splitlines()
    scp.write_text(f"sp0.9-u1 {second.split()[1]}\nu1 {first.split()[1]}\n")
    with pytest.raises(ArchiveError, match=r"^u1: .*belongs to sp0\.9-u1, not to u1"):
        ScpReader(scp).read("u1")


def test_an_offset_beside_the_record_is_refused(corpus):
    for shift in (-8, -1, 1, 2, 100):
        corpus.point({"spk1-u3": corpus.offset["spk1-u3"] + shift})
        corpus.refused("spk1-u3", "no record of spk1-u3 begins at this offset")


@pytest.mark.parametrize("offset", ["-5", "0x10", "1.5", "", "٣", "1" * 20])
def test_offsets_that_are_not_numbers_are_refused_with_their_line(corpus, offset):
    corpus.point({"spk1-u3": offset})
    with pytest.raises(ArchiveError, match=r"feats\.scp:3: offset .* is not a whole number"):
        read_scp(corpus.scp)


def test_an_archive_that_ends_in_zeros_is_damaged(corpus):
    half = corpus.offset["spk2-u1"] + 500
    corpus.ark.write_bytes(corpus.data[:half] + bytes(len(corpus.data) - half))
    corpus.refused("spk2-u1", "damaged")
    with pytest.raises(ArchiveError, match=r"^spk2-u2: .*zero bytes"):
        ScpReader(corpus.scp).read("spk2-u2")


def test_an_archive_appended_to_after_a_crash_is_damaged(corpus):
    cut, rest = corpus.offset["spk1-u2"] + 500, corpus.offset["spk1-u3"] - len("spk1-u3 ")
    corpus.ark.write_bytes(corpus.data[:cut] + corpus.data[rest:])
    corpus.refused("spk1-u2", "damaged: no other entry begins where the record ends")


def test_random_bytes_are_refused(corpus):
    corpus.ark.write_bytes(np.random.default_rng(0).bytes(len(corpus.data)))
    corpus.refused("spk1-u1", "no record of spk1-u1 begins at this offset")


@pytest.mark.parametrize("record", [b"\0BXX \x04\1\0\0\0\x04\1\0\0\0abcd", b"\0BSM \x04\1\0\0\0", b"\0B\xff\xff\xff\xff", b"\0BFM"])
def test_unknown_kinds_are_refused_with_their_name(corpus, record):
    corpus.put("spk1-u3", record)
    corpus.refused("spk1-u3", "unknown record type '")


LIES = {
    "matrix of 4 TB": b"FM \x04" + struct.pack("<i", 2**30) + b"\x04" + struct.pack("<i", 2**10),
    "doubles": b"DM \x04" + struct.pack("<i", 2**31 - 1) + b"\x04" + struct.pack("<i", 2**31 - 1),
    "vector": b"FV \x04" + struct.pack("<i", 2**31 - 1),
    "int32 vector": b"\x04" + struct.pack("<i", 2**31 - 1),
    "CM": b"CM " + struct.pack("<ffii", 0, 1, 2**31 - 1, 2**31 - 1),
    "CM2": b"CM2 " + struct.pack("<ffii", 0, 1, 2**31 - 1, 2**31 - 1),
    "CM3": b"CM3 " + struct.pack("<ffii", 0, 1, 2**31 - 1, 2**31 - 1),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_header_that_claims_more_than_the_file_takes_no_memory(corpus, lie):
    corpus.put("spk2-u3", b"\0B" + lie + bytes(100))
    tracemalloc.start()
    corpus.refused("spk2-u3", "truncated: its header says .*, and the file holds 100 more")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


DAMAGED = {
    "negative rows": b"FM \x04" + struct.pack("<i", -3) + b"\x04" + struct.pack("<i", 5),
    "two negative sizes": b"FM \x04" + struct.pack("<i", -3) + b"\x04" + struct.pack("<i", -5),
    "negative vector": b"FV \x04" + struct.pack("<i", -1),
    "negative int32 vector": b"\x04" + struct.pack("<i", -1),
    "negative compressed": b"CM2 " + struct.pack("<ffii", 0, 1, -4, -4),
    "width of a size": b"FM \x08" + bytes(9),
    "scale is NaN": b"CM " + struct.pack("<ffii", np.nan, 1, 1, 1),
    "scale is infinite": b"CM3 " + struct.pack("<ffii", 0, np.inf, 1, 1),
    "width of an entry": b"\x04" + struct.pack("<i", 1) + b"\x03" + bytes(4),
}


@pytest.mark.parametrize("record", DAMAGED.values(), ids=DAMAGED)
def test_impossible_headers_are_damaged(corpus, record):
    corpus.put("spk1-u3", b"\0B" + record)
    with pytest.raises(ArchiveError, match=r"^spk1-u3: .*feats\.scp:3: .*damaged"):
        ScpReader(corpus.scp).read("spk1-u3")


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return open, (str(self.canary), "w")


@pytest.mark.parametrize("kind", ["PKL", "NPY", "bare pickle"])
def test_objects_are_never_unpickled(corpus, kind):
    canary = corpus.directory / "PWNED"
    pickled = pickle.dumps(Bomb(canary))
    if kind == "NPY":
        path = corpus.directory / "object.npy"
        np.save(path, np.array([Bomb(canary)], object), allow_pickle=True)
        record = b"NPY" + struct.pack("<B", 2) + struct.pack("<H", path.stat().st_size) + path.read_bytes()
    else:
        record = (b"PKL" if kind == "PKL" else b"") + pickled
    corpus.put("spk1-u3", record)
    corpus.refused("spk1-u3", "not a Kaldi record" if kind == "bare pickle" else f"unsupported record type '{kind}'")
    with pytest.raises(ArchiveError, match=r"feats\.ark:\d+: "):
        list(read_ark(corpus.ark))
    assert not canary.exists()


@pytest.mark.parametrize("record", [b"AUDIO\1\5abcde", b"RIFF\x24\0\0\0WAVEfmt ", b"fLaC\0\0\0\x22"])
def test_audio_records_are_refused(corpus, record):
    corpus.put("spk1-u3", record)
    corpus.refused("spk1-u3", r"unsupported record type '\w+' \(audio\)")


def test_a_gzip_archive_gets_a_hint(corpus):
    corpus.ark.write_bytes(gzip.compress(corpus.data))
    corpus.refused("spk1-u1", "gzip-compressed; gunzip it first")
    with pytest.raises(ArchiveError, match="gunzip"):
        list(read_ark(corpus.ark))


@pytest.mark.parametrize("value", ["touch {}; cat feats.ark |", "| touch {}", "gunzip -c x.gz|", "cat {} |:12"])
def test_pipes_in_an_scp_file_are_refused_with_their_line(corpus, value):
    canary = corpus.directory / "PWNED"
    lines = corpus.scp.read_text().splitlines()
    lines[1] = f"spk1-u2 {value.format(canary)}"
    corpus.scp.write_text("\n".join(lines) + "\n")
    with pytest.raises(ArchiveError, match=r"feats\.scp:2|spk1-u2"):
        ScpReader(corpus.scp).read("spk1-u2")
    assert not canary.exists()


def test_an_scp_argument_is_a_path_and_not_a_command(corpus):
    canary = corpus.directory / "PWNED"
    for argument in (f"touch {canary}; echo a b |", f"| touch {canary}"):
        with pytest.raises(DataError, match="no such file"):
            read_vectors(argument)
    assert not canary.exists()


def test_an_empty_scp_file_is_refused(tmp_path):
    (tmp_path / "feats.scp").write_text("")
    with pytest.raises(DataError, match=r"feats\.scp: is empty"):
        ScpReader(tmp_path / "feats.scp")


def test_of_one_key_twice_in_an_archive_the_scp_decides(corpus):
    corpus.ark.write_bytes(corpus.data + encode_record("spk1-u1", np.ones((2, 8), np.float32)))
    corpus.point({"spk1-u1": len(corpus.data) + len("spk1-u1 ")})
    assert np.array_equal(ScpReader(corpus.scp).read("spk1-u1"), np.ones((2, 8)))


@pytest.mark.parametrize(
    "text", [" [\n 1 2\n 3 ]\n", " [ 1 2", " [ 1 x ]\n", " [\n 1 0x5 ]\n", " [ 1 2 \n\0", "12 1e3 \n", "1 99999999999\n"]
)
def test_damaged_text_is_refused(corpus, text):
    corpus.put("spk1-u3", text.encode())
    corpus.refused("spk1-u3", "damaged|truncated|not a Kaldi record|unknown")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_gives_an_array_of_the_right_kind_or_an_archive_error(corpus, data):
    matrix = next(iter(corpus.matrices.values()))
    kind = data.draw(st.sampled_from([None, "CM", "CM2", "CM3"]))
    good = b"".join(encode_record(key, matrix, kind) for key in KEYS)
    damage = data.draw(st.binary(min_size=1, max_size=12))
    at = data.draw(st.integers(0, len(good) - 1))
    length = data.draw(st.sampled_from([0, len(damage), len(good)]))
    corpus.ark.write_bytes(good[:at] + damage + good[at + length :])
    step = len(encode_record("spk1-u1", matrix, kind))
    corpus.point({key: i * step + len(key) + 1 for i, key in enumerate(KEYS)})
    reader = ScpReader(corpus.scp)
    for key in KEYS:
        try:
            assert reader.read(key).dtype in (np.float32, np.int32)
        except ArchiveError as error:
            assert str(error).startswith(f"{key}: ")
            assert str(error).isprintable()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_any_bytes_read_in_order_give_arrays_or_an_archive_error(tmp_path, data):
    path = tmp_path / "x.ark"
    path.write_bytes(data)
    try:
        for key, array in read_ark(path):
            assert key
            assert array.dtype.kind in "fi"
    except ArchiveError as error:
        assert str(error).startswith(f"{path}:")
        assert str(error).isprintable()


def test_reading_in_order_names_the_offset_of_the_damage(corpus):
    cut = corpus.offset["spk1-u3"] + 40
    corpus.ark.write_bytes(corpus.data[:cut] + corpus.data[corpus.offset["spk2-u1"] - 8 :])
    seen = []
    with pytest.raises(ArchiveError, match=r"feats\.ark:\d+: damaged"):
        seen.extend(key for key, _ in read_ark(corpus.ark))
