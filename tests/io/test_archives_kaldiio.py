"""Archives agree with kaldiio, an independent implementation, in both directions."""

from __future__ import annotations

import numpy as np
import pytest

from sv_toolkit.io.archives import ScpReader, encode_record, read_ark, write_ark_scp

kaldiio = pytest.importorskip("kaldiio")

METHODS = {1: "automatic", 2: "CM", 3: "CM2", 4: "CM2 of int16", 5: "CM3", 6: "CM3 of uint8", 7: "CM3 of [0, 1]"}


@pytest.fixture
def arrays(rng):
    return {
        "a-double-matrix": rng.normal(size=(13, 4)),
        "b-double-vector": rng.normal(size=9),
        "c-float-matrix": rng.normal(size=(21, 40)).astype(np.float32),
        "d-float-vector": rng.normal(size=256).astype(np.float32),
        "e-int-vector": rng.integers(-(2**31), 2**31 - 1, 30).astype(np.int32),
        "f-one-by-one": np.array([[1.5]], np.float32),
    }


def test_kaldiio_reads_what_we_write(tmp_path, arrays):
    scp = write_ark_scp(tmp_path, "x", arrays)
    by_scp, by_ark = kaldiio.load_scp(str(scp)), dict(kaldiio.load_ark(str(tmp_path / "x.ark")))
    for key, array in arrays.items():
        assert by_ark[key].dtype == array.dtype
        assert np.array_equal(by_ark[key], array)
        assert np.array_equal(by_scp[key], array)


def test_we_read_what_kaldiio_writes(tmp_path, arrays):
    kaldiio.save_ark(str(tmp_path / "x.ark"), arrays, scp=str(tmp_path / "x.scp"))
    reader, in_order = ScpReader(tmp_path / "x.scp"), dict(read_ark(tmp_path / "x.ark"))
    for key, array in arrays.items():
        assert np.array_equal(in_order[key], array)
        assert np.array_equal(reader.read(key), array if array.dtype == np.int32 else array.astype(np.float32))


def test_the_bytes_are_those_of_kaldiio(tmp_path, arrays):
    kaldiio.save_ark(str(tmp_path / "x.ark"), arrays)
    assert (tmp_path / "x.ark").read_bytes() == b"".join(encode_record(key, array) for key, array in arrays.items())


@pytest.mark.parametrize("num_rows", [1, 3, 5, 8, 9, 300])
@pytest.mark.parametrize("method", METHODS, ids=METHODS.values())
def test_we_decompress_what_kaldiio_compresses(tmp_path, rng, method, num_rows):
    scale = {4: 9000, 6: 60, 7: 0.2}.get(method, 20)
    matrix = np.abs(rng.normal(0, scale, (num_rows, 6))).astype(np.float32)
    matrix = np.minimum(matrix, {4: 32767, 6: 255, 7: 1}.get(method, np.inf)).astype(np.float32)
    kaldiio.save_ark(str(tmp_path / "x.ark"), {"u": matrix}, scp=str(tmp_path / "x.scp"), compression_method=method)
    ours, theirs = ScpReader(tmp_path / "x.scp").read("u"), kaldiio.load_scp(str(tmp_path / "x.scp"))["u"]
    assert np.allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())
    assert np.array_equal(dict(read_ark(tmp_path / "x.ark"))["u"], ours)


@pytest.mark.parametrize("num_rows", [1, 2, 3, 5, 9, 300])
@pytest.mark.parametrize("kind", ["CM", "CM2", "CM3"])
def test_kaldiio_decompresses_what_we_compress(tmp_path, rng, kind, num_rows):
    matrix = rng.normal(8, 20, (num_rows, 6)).astype(np.float32)
    scp = write_ark_scp(tmp_path, "x", {"u": matrix}, kind)
    ours, theirs = ScpReader(scp).read("u"), kaldiio.load_scp(str(scp))["u"]
    assert np.allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize(("kind", "method"), [("CM", 2), ("CM2", 3), ("CM3", 5)])
def test_we_lose_no_more_than_kaldiio(tmp_path, rng, kind, method):
    matrix = rng.normal(rng.normal(0, 9, 20), rng.uniform(1, 4, 20), (250, 20)).astype(np.float32)
    scp = write_ark_scp(tmp_path, "x", {"u": matrix}, kind)
    kaldiio.save_ark(str(tmp_path / "y.ark"), {"u": matrix}, scp=str(tmp_path / "y.scp"), compression_method=method)
    ours, theirs = (np.abs(ScpReader(path).read("u") - matrix) for path in (scp, tmp_path / "y.scp"))
    assert ours.mean() <= 1.01 * theirs.mean()
    assert ours.max() <= 1.05 * theirs.max()


def test_we_read_the_text_form(tmp_path, arrays):
    kaldiio.save_ark(str(tmp_path / "x.ark"), arrays, scp=str(tmp_path / "x.scp"), text=True)
    reader, in_order = ScpReader(tmp_path / "x.scp"), dict(read_ark(tmp_path / "x.ark"))
    for key, array in arrays.items():
        assert reader.shape(key) == array.shape
        assert np.allclose(reader.read(key), array, rtol=1e-6)
        assert np.allclose(in_order[key], array, rtol=1e-6)
    assert np.array_equal(reader.rows("c-float-matrix", 4, 9), reader.read("c-float-matrix")[4:9])


def test_we_read_the_text_form_as_copy_feats_writes_it(tmp_path):
    text = "u1  [\n  1 -2.5 \n  3e-05 4 ]\nu2  [ 1 inf nan ]\nu3 1 0 1 \nu4  [ ]\n"
    (tmp_path / "x.ark").write_text(text)
    (tmp_path / "x.scp").write_text("".join(f"u{i} {tmp_path}/x.ark:{text.index(f'u{i} ') + 3}\n" for i in (1, 2, 3, 4)))
    reader, in_order = ScpReader(tmp_path / "x.scp"), dict(read_ark(tmp_path / "x.ark"))
    assert np.array_equal(reader.read("u1"), np.array([[1, -2.5], [3e-5, 4]], np.float32))
    assert np.array_equal(reader.read("u2"), np.array([1, np.inf, np.nan], np.float32), equal_nan=True)
    assert np.array_equal(reader.read("u3"), np.array([1, 0, 1], np.int32))
    assert reader.shape("u4") == (0,)
    assert list(in_order) == ["u1", "u2", "u3", "u4"]
