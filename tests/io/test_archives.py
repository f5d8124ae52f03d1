"""Archives: round trips, row ranges, what the scp line picks, and the limits of the random reader."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sv_toolkit.errors import ArchiveError
from sv_toolkit.io import archives
from sv_toolkit.io.archives import ScpReader, check_finite, encode_record, read_ark, read_scp, read_vectors, write_ark_scp

FLOATS = st.floats(-1e6, 1e6, width=32)
ARRAYS = st.one_of(
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=9), elements=FLOATS),
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=9), elements=st.floats(-1e300, 1e300)),
    hnp.arrays(np.int32, st.integers(0, 9)),
)
KEYS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=12).filter(
    lambda key: key.isprintable() and key.split() == [key]
)


@pytest.fixture
def matrices(rng):
    return {f"spk{i}-u{j}": rng.normal(3, 2, (20 + 7 * i + j, 5)).astype(np.float32) for i in range(3) for j in range(2)}


def read_all(path):
    reader = ScpReader(path)
    return {key: reader.read(key) for key in reader}


def num_open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def edit_scp(path, change):
    path.write_text("".join(change(line) + "\n" for line in path.read_text().splitlines()))


@settings(max_examples=60)
@given(arrays=st.dictionaries(KEYS, ARRAYS, min_size=1, max_size=5))
def test_what_is_written_is_read_in_order_and_exactly(arrays, tmp_path_factory):
    directory = tmp_path_factory.mktemp("ark")
    write_ark_scp(directory, "x", arrays)
    back = dict(read_ark(directory / "x.ark"))
    assert list(back) == list(arrays)
    for key, array in arrays.items():
        assert back[key].dtype == array.dtype
        assert np.array_equal(back[key], array)


@settings(max_examples=40)
@given(arrays=st.dictionaries(KEYS, ARRAYS, min_size=1, max_size=5))
def test_random_access_gives_the_same_as_float32(arrays, tmp_path_factory):
    directory = tmp_path_factory.mktemp("ark")
    arrays = {key.replace("..", "__"): array for key, array in arrays.items()}
    reader = ScpReader(write_ark_scp(directory, "x", arrays))
    assert list(reader) == sorted(arrays, key=str.encode)
    for key, array in arrays.items():
        with np.errstate(over="ignore"):
            expected = array if array.dtype == np.int32 else array.astype(np.float32)
        assert reader.shape(key) == array.shape
        assert np.array_equal(reader.read(key), expected)


@pytest.mark.parametrize("compression", [None, "CM", "CM2", "CM3"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_range_is_a_slice_of_the_whole(tmp_path, rng, compression, dtype):
    matrix = rng.normal(0, 9, (300, 7)).astype(dtype)
    reader = ScpReader(write_ark_scp(tmp_path, "x", {"u": matrix, "v": matrix[:1]}, compression))
    whole = reader.read("u")
    for start, stop in [(0, 300), (0, 1), (299, 300), (17, 60), (5, 5), (300, 300)]:
        part = reader.rows("u", start, stop)
        assert part.shape == (stop - start, 7)
        assert part.dtype == np.float32
        assert np.array_equal(part, whole[start:stop])


def test_a_row_range_of_a_long_compressed_matrix_is_a_slice_of_the_whole(tmp_path, rng):
    matrix = rng.normal(0, 9, (50_000, 4)).astype(np.float32)  # long enough for reads column by column
    reader = ScpReader(write_ark_scp(tmp_path, "x", {"u": matrix}, "CM"))
    assert np.array_equal(reader.rows("u", 40_000, 40_160), reader.read("u")[40_000:40_160])


def test_row_ranges_of_vectors_are_slices(tmp_path, rng):
    reader = ScpReader(
        write_ark_scp(tmp_path, "x", {"i": rng.integers(-9, 9, 50).astype(np.int32), "v": rng.normal(size=50).astype(np.float32)})
    )
    for key in reader:
        assert np.array_equal(reader.rows(key, 3, 20), reader.read(key)[3:20])


def test_rows_outside_of_the_record_are_refused(tmp_path, matrices):
    reader = ScpReader(write_ark_scp(tmp_path, "x", matrices))
    for start, stop in [(-1, 3), (3, 2), (0, 21)]:
        with pytest.raises(ValueError, match="spk0-u0 has 20 rows"):
            reader.rows("spk0-u0", start, stop)


def test_arrays_that_are_read_can_be_written_to(tmp_path, matrices, rng):
    vectors = {f"v{i}": rng.normal(size=4) for i in range(3)}
    reader = ScpReader(write_ark_scp(tmp_path, "x", {**matrices, **vectors}))
    for key in reader:
        array = reader.read(key)
        array += 1
        assert array.flags.c_contiguous


@pytest.mark.parametrize(("compression", "steps"), [("CM2", 65535), ("CM3", 255)])
def test_uniform_compression_is_exact_to_half_a_step(tmp_path, rng, compression, steps):
    matrix = rng.normal(5, 30, (64, 9)).astype(np.float32)
    back = ScpReader(write_ark_scp(tmp_path, "x", {"u": matrix}, compression)).read("u")
    assert np.abs(back - matrix).max() <= 0.501 * np.ptp(matrix) / steps


def test_column_compression_is_exact_to_a_code_of_its_quarter(tmp_path, rng):
    matrix = rng.normal(rng.normal(0, 30, 9), rng.uniform(1, 5, 9), (400, 9)).astype(np.float32)
    back = ScpReader(write_ark_scp(tmp_path, "x", {"u": matrix}, "CM")).read("u")
    knots = np.quantile(matrix, [0, 0.25, 0.75, 1], axis=0)
    coarsest = (np.diff(knots, axis=0) / np.array([[64], [128], [63]])).max(axis=0)
    assert (np.abs(back - matrix).max(axis=0) <= coarsest + 2 * np.ptp(matrix) / 65535).all()


@settings(max_examples=40)
@given(matrix=hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.floats(-1e4, 1e4, width=32)))
@pytest.mark.parametrize("compression", ["CM", "CM2", "CM3"])
def test_compressed_values_stay_in_the_range_of_the_matrix(matrix, compression, tmp_path_factory):
    back = ScpReader(write_ark_scp(tmp_path_factory.mktemp("ark"), "x", {"u": matrix}, compression)).read("u")
    margin = 1e-3 * (1 + np.abs(matrix).max())
    assert np.isfinite(back).all()
    assert back.shape == matrix.shape
    assert (back >= matrix.min() - margin).all()
    assert (back <= matrix.max() + margin).all() or np.ptp(matrix) == 0


def test_a_matrix_of_equal_values_survives_compression(tmp_path):
    matrix = np.full((9, 3), -4.25, np.float32)
    for kind in ("CM", "CM2", "CM3"):
        assert np.abs(ScpReader(write_ark_scp(tmp_path, "x", {"u": matrix}, kind)).read("u") - matrix).max() < 1e-3


@pytest.mark.parametrize(
    "bad", [np.zeros(3, np.int64), np.zeros((2, 2, 2), np.float32), np.zeros((2, 2), np.int32), np.array(["a"]), np.array([None])]
)
def test_other_kinds_of_arrays_are_not_written(bad):
    with pytest.raises(ValueError, match="an archive holds"):
        encode_record("u", bad)


@pytest.mark.parametrize("key", ["", "a b", " a", "a\n", "a\tb"])
def test_keys_that_are_not_one_word_are_not_written(key):
    with pytest.raises(ValueError, match="one word"):
        encode_record(key, np.zeros(1, np.float32))


@pytest.mark.parametrize("bad", [np.array([[np.nan]], np.float32), np.zeros(3, np.float32), np.zeros((2, 2), np.int32)])
def test_only_finite_float_matrices_are_compressed(bad):
    with pytest.raises(ValueError, match="compressed"):
        encode_record("u", bad, "CM2")


def test_an_unknown_compression_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'CM4'; known: CM, CM2, CM3"):
        encode_record("u", np.zeros((1, 1), np.float32), "CM4")


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [
        ("[2:4]", slice(2, 5), slice(None)),
        ("[0:0]", slice(0, 1), slice(None)),
        ("[:,1:3]", slice(None), slice(1, 4)),
        ("[3:9,0:1]", slice(3, 10), slice(0, 2)),
        ("[10:22]", slice(10, 20), slice(None)),
    ],
)
@pytest.mark.parametrize("compression", [None, "CM", "CM3"])
def test_ranges_in_the_scp_file_mean_what_they_mean_in_kaldi(tmp_path, matrices, text, rows, columns, compression):
    scp = write_ark_scp(tmp_path, "x", matrices, compression)
    whole = read_all(scp)["spk0-u0"]
    edit_scp(scp, lambda line: line + text)
    reader = ScpReader(scp)
    expected = whole[rows, columns]
    assert reader.shape("spk0-u0") == expected.shape
    assert np.array_equal(reader.read("spk0-u0"), expected)
    assert np.array_equal(reader.rows("spk0-u0", 0, 1), expected[:1])


@pytest.mark.parametrize("text", ["[20:21]", "[5:23]", "[0:1,2:5]"])
def test_ranges_outside_of_the_matrix_are_refused(tmp_path, matrices, text):
    scp = write_ark_scp(tmp_path, "x", matrices)
    edit_scp(scp, lambda line: line + text)
    with pytest.raises(ArchiveError, match=r"^spk0-u0: .*x\.scp:1: .*lies outside"):
        ScpReader(scp).read("spk0-u0")


@pytest.mark.parametrize("text", ["[5:3]", "[a:b]", "[]", "[1:2:3]", "[-1:3]", "[1]"])
def test_ranges_that_are_none_are_refused_with_their_line(tmp_path, matrices, text):
    scp = write_ark_scp(tmp_path, "x", matrices)
    edit_scp(scp, lambda line: line + text if line.startswith("spk1-u0 ") else line)
    with pytest.raises(ArchiveError, match=r"x\.scp:3: range .*expected \[first:last\]"):
        read_scp(scp)


def test_a_file_with_a_single_record_needs_no_offset(tmp_path, matrices):
    matrix = matrices["spk0-u0"]
    (tmp_path / "one:x").mkdir()
    one = tmp_path / "one:x" / "mean.mat"
    one.write_bytes(encode_record("k", matrix)[2:])
    (tmp_path / "x.scp").write_text(f"u {one}\n")
    assert np.array_equal(ScpReader(tmp_path / "x.scp").read("u"), matrix)


def test_paths_are_relative_to_the_current_directory(tmp_path, matrices, monkeypatch):
    scp = write_ark_scp(tmp_path, "x", matrices)
    edit_scp(scp, lambda line: line.replace(f"{tmp_path}/", ""))
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(ScpReader("x.scp").read("spk0-u0"), matrices["spk0-u0"])


def test_a_thousand_archives_are_read_with_few_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_OPEN", 5)
    lines = {}
    for i in range(60):
        key = f"u{i:02d}"
        write_ark_scp(tmp_path, key, {key: np.full(3, i, np.float32)})
        lines[key] = (tmp_path / f"{key}.scp").read_text()
    (tmp_path / "all.scp").write_text("".join(lines.values()))
    reader = ScpReader(tmp_path / "all.scp")
    before = num_open_files()
    for _ in range(2):
        assert [reader.read(key)[0] for key in reader] == list(range(60))
    assert num_open_files() <= before + 5
    reader.close()
    assert num_open_files() == before


def test_a_reader_can_be_sent_to_another_process(tmp_path, matrices):
    reader = ScpReader(write_ark_scp(tmp_path, "x", matrices))
    reader.read("spk0-u0")
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.where("spk0-u1") == f"{tmp_path}/x.scp:2"
    assert np.array_equal(copy.read("spk2-u1"), matrices["spk2-u1"])


def test_a_reader_forgets_headers_rather_than_grow_without_end(tmp_path, matrices, monkeypatch):
    monkeypatch.setattr(archives, "MAX_KNOWN", 2)
    reader = ScpReader(write_ark_scp(tmp_path, "x", matrices))
    for _ in range(2):
        assert all(np.array_equal(reader.read(key), matrices[key]) for key in reader)
    assert len(reader._known) <= 2


def test_the_scp_file_is_sorted_by_bytes_whatever_the_order_of_writing(tmp_path):
    keys = ["b", "a", "Z", "é", "日", "a-1"]
    scp = write_ark_scp(tmp_path, "x", ((key, np.array([i], np.float32)) for i, key in enumerate(keys)))
    assert [line.split()[0] for line in scp.read_text().splitlines()] == sorted(keys, key=str.encode)
    assert [key for key, _ in read_ark(tmp_path / "x.ark")] == keys
    assert all(read_all(scp)[key] == [i] for i, key in enumerate(keys))


def test_one_key_twice_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="'?a'? occurs twice"):
        write_ark_scp(tmp_path, "x", [("a", np.zeros(1, np.float32))] * 2)
    assert list(tmp_path.iterdir()) == []


def test_a_zero_row_matrix_is_the_callers_business(tmp_path):
    reader = ScpReader(write_ark_scp(tmp_path, "x", {"u": np.zeros((0, 40), np.float32)}))
    assert reader.shape("u") == (0, 40)
    assert reader.read("u").shape == (0, 40)


def test_vectors_come_as_one_array_in_the_order_of_the_scp(tmp_path, rng):
    vectors = {f"u{i}": rng.normal(size=8) for i in (3, 1, 2)}
    ids, array = read_vectors(write_ark_scp(tmp_path, "dvector", vectors))
    assert ids == ["u1", "u2", "u3"]
    assert array.dtype == np.float32
    assert np.array_equal(array, np.stack([vectors[key] for key in ids]).astype(np.float32))


def test_vectors_of_two_sizes_are_refused_with_both(tmp_path):
    scp = write_ark_scp(tmp_path, "x", {"a": np.zeros(256, np.float32), "b": np.zeros(128, np.float32)})
    with pytest.raises(ArchiveError, match=r"^b: .*x\.scp:2: has 128 dimensions, a has 256"):
        read_vectors(scp)


def test_vectors_that_are_not_finite_are_refused(tmp_path):
    for value, word in ((np.nan, "NaN"), (np.inf, "Inf")):
        scp = write_ark_scp(tmp_path, "x", {"a": np.zeros(3, np.float32), "b": np.array([0, value, 0], np.float32)})
        with pytest.raises(ArchiveError, match=rf"^b: .*x\.scp:2: 1 of 3 numbers are not finite \({word}\)"):
            read_vectors(scp)


def test_a_matrix_among_vectors_is_refused(tmp_path):
    scp = write_ark_scp(tmp_path, "x", {"a": np.zeros(3, np.float32), "b": np.zeros((2, 3), np.float32)})
    with pytest.raises(ArchiveError, match="b: .*a vector is needed, this is a matrix of 2 x 3"):
        read_vectors(scp)


def test_check_finite_passes_finite_numbers_and_counts_the_others():
    check_finite(np.zeros((2, 2)), "u", "feats.scp:1")
    with pytest.raises(ArchiveError, match=r"u: feats.scp:1: 2 of 4 numbers are not finite \(NaN\)"):
        check_finite(np.array([1, np.nan, np.inf, 0]), "u", "feats.scp:1")


def test_utterances_renamed_in_the_scp_file_alone_are_read_as_in_kaldi(tmp_path):
    matrices = {f"u{i}": np.full((3, 2), i, np.float32) for i in range(4)}
    scp = write_ark_scp(tmp_path, "feats", matrices)
    places = dict(line.split() for line in scp.read_text().splitlines())
    copies = [f"{key}-copy {place}[0:1]\n" for key, place in places.items()]
    scp.write_text("".join(sorted([f"u0 {places['u0']}\n", *copies])))
    with_copies = ScpReader(scp)
    assert np.array_equal(with_copies.read("u0"), matrices["u0"])
    assert np.array_equal(with_copies.read("u3-copy"), matrices["u3"][:2])
    with pytest.raises(ArchiveError, match="belongs to .*u3, not to u3-copy"):
        ScpReader(scp, check_keys=True).read("u3-copy")


def test_an_archive_that_cannot_be_written_leaves_the_one_that_was_there(tmp_path):
    scp = write_ark_scp(tmp_path, "a", {"u": np.ones(3, np.float32)})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def broken():
        yield "u", np.zeros(3, np.float32)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_ark_scp(tmp_path, "a", broken())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert ScpReader(scp).read("u").tolist() == [1, 1, 1]
