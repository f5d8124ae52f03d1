"""Kaldi's PLDA file: its bytes, its text, round trips, the scores it means, and files that are not what they say."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from sv_toolkit.backends.kaldi_plda import read_kaldi_plda, write_kaldi_plda
from sv_toolkit.backends.plda_scoring import DiagonalPlda
from sv_toolkit.errors import ModelError

DIM = 3


@pytest.fixture
def model(rng):
    root, low = rng.normal(size=(DIM, DIM)), rng.normal(size=(DIM, 2))
    return DiagonalPlda.from_covariances(rng.normal(size=DIM), root @ root.T + np.eye(DIM), low @ low.T)


def kaldi_bytes(model, vector="DV", matrix="DM"):
    """Byte for byte what Kaldi's stream operators write."""
    code = {"D": "<f8", "F": "<f4"}
    content = b"\0B<Plda> "
    for token, array in ((vector, model.mean), (matrix, model.transform), (vector, model.psi)):
        content += token.encode() + b" " + b"".join(b"\4" + struct.pack("<i", size) for size in array.shape)
        content += array.astype(code[token[0]]).tobytes()
    return content + b"</Plda> "


def assert_same(one, other, **tolerance):
    for name in ("mean", "transform", "psi"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours, theirs, **(tolerance or {"rtol": 0, "atol": 0}))


def test_the_binary_form_is_kaldis(tmp_path, model):
    write_kaldi_plda(tmp_path / "plda", model)
    assert (tmp_path / "plda").read_bytes() == kaldi_bytes(model)
    assert_same(read_kaldi_plda(tmp_path / "plda"), model)


def test_the_text_form_is_read_and_written_without_loss(tmp_path, model):
    write_kaldi_plda(tmp_path / "plda", model, binary=False)
    assert (tmp_path / "plda").read_text().startswith("<Plda>  [ ")
    assert_same(read_kaldi_plda(tmp_path / "plda"), model)


def test_text_as_kaldi_prints_it_is_read(tmp_path):
    (tmp_path / "plda").write_text("<Plda>  [ 1 -2.5 ]\n [\n  2 0 \n  1e-1 4 ]\n [ 3 0 ]\n</Plda> \n")
    model = read_kaldi_plda(tmp_path / "plda")
    assert_same(model, DiagonalPlda(np.array([1, -2.5]), np.array([[2, 0], [0.1, 4]]), np.array([3.0, 0])))


def test_single_precision_is_read(tmp_path, model):
    (tmp_path / "plda").write_bytes(kaldi_bytes(model, "FV", "FM"))
    assert_same(read_kaldi_plda(tmp_path / "plda"), model, rtol=1e-6)


def slow_kaldi_score(model, enroll, n, test, normalize):
    """Kaldi's scoring by the trial: transform, length, two Gaussian densities per dimension."""

    def transformed(vector, count):
        u = model.transform @ vector - model.transform @ model.mean
        return u * np.sqrt(len(u) / np.sum(u**2 / (model.psi + 1 / count))) if normalize else u

    u, t = transformed(enroll, n), transformed(test, 1)
    score = 0.0
    for psi, a, b in zip(model.psi, u, t):
        mean, variance = n * psi / (n * psi + 1) * a, 1 + psi / (n * psi + 1)
        score += -0.5 * (np.log(variance) + (b - mean) ** 2 / variance) + 0.5 * (np.log(1 + psi) + b**2 / (1 + psi))
    return score


@pytest.mark.parametrize("normalize", [False, True], ids=["raw", "normalized"])
def test_scores_of_a_file_are_those_of_kaldi(tmp_path, model, rng, normalize):
    """And, without length normalisation, those of the covariances (the two forms are one model)."""
    write_kaldi_plda(tmp_path / "plda", model)
    read = read_kaldi_plda(tmp_path / "plda")
    counts, rows, length = np.array([1, 2, 7, 2]), np.arange(4), "model" if normalize else "none"
    enroll, test = rng.normal(size=(4, DIM)), rng.normal(size=(4, DIM))
    scores = read.llr(read.project(enroll, counts, length), counts, read.project(test, 1, length), rows, rows)
    np.testing.assert_allclose(scores, [slow_kaldi_score(model, enroll[i], counts[i], test[i], normalize) for i in rows], atol=1e-10)
    again = DiagonalPlda.from_covariances(read.mean, *read.covariances())
    others = again.llr(again.project(enroll, counts, length), counts, again.project(test, 1, length), rows, rows)
    np.testing.assert_allclose(scores, others, atol=1e-8)


def refused(tmp_path, content, match):
    (tmp_path / "plda").write_bytes(content)
    with pytest.raises(ModelError, match=match) as caught:
        read_kaldi_plda(tmp_path / "plda")
    assert "\n" not in str(caught.value)
    assert "plda: not a usable PLDA model of Kaldi" in str(caught.value)


def test_every_truncation_is_refused_in_one_line(tmp_path, model):
    content = kaldi_bytes(model).rstrip()
    for size in range(len(content)):
        refused(tmp_path, content[:size], "plda:")


def test_sizes_are_checked_before_memory_is_taken(tmp_path, model):
    """A header may say 2^31 rows; the file has a few bytes."""
    head = b"\0B<Plda> DV \4" + struct.pack("<i", (1 << 31) - 1)
    refused(tmp_path, head, "truncated: its header says DV of size 2147483647")
    refused(tmp_path, b"\0B<Plda> DV \4" + struct.pack("<i", -1) + b"\0" * 99, "damaged header")
    refused(tmp_path, b"\0B<Plda> DV \4" + struct.pack("<i", 0) + b"\0" * 99, "mean of size 0")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (b"<Plda>", b"<Nnet>", "expected <Plda> at byte 2, the bytes there are '<Nnet> '"),
        (b"</Plda>", b"</Nope>", "expected </Plda>"),
        (b"</Plda> ", b"</Plda> more", "something stands after </Plda>"),
        (b"DM ", b"XX ", "unknown record type 'XX'"),
        (b"DM \4\3", b"DM \4\2", "transform of size 2 x 3, 3 x 3 is needed"),
        (b"DM \4\3", b"DM \x08\3", "a size of 8 bytes"),
    ],
)
def test_damaged_files_are_refused_by_what_is_wrong(tmp_path, model, old, new, match):
    assert kaldi_bytes(model).count(old) >= 1
    refused(tmp_path, kaldi_bytes(model).replace(old, new, 1), match)


def test_parameters_that_no_model_has_are_refused(tmp_path, model):
    for changed, match in (
        (DiagonalPlda(model.mean * np.nan, model.transform, model.psi), "mean holds values that are not finite"),
        (DiagonalPlda(model.mean, model.transform, -model.psi - 1), "psi holds a negative variance"),
        (DiagonalPlda(model.mean, np.ones((DIM, DIM)), model.psi), "transform is singular"),
        (DiagonalPlda(model.mean, model.transform[:2], model.psi), "transform of size 2 x 3"),
        (DiagonalPlda(model.mean, model.transform, model.psi[:2]), "psi of size 2, 3 is needed"),
    ):
        refused(tmp_path, kaldi_bytes(changed), match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"", "expected <Plda>"),
        (b"<Plda> [ 1 2", "truncated"),
        (b"<Plda> 1 2 3", r"expected \[ and numbers"),
        (b"<Plda> [ 1 x ]\n", "expected numbers in text form"),
        (b"<Plda> [ 1 " + b"9" * 5000 + b" ]\n", "expected numbers in text form"),
        (b"<Plda> [ 1 2 ]\n [\n 1 2\n 3 ]\n [ 1 2 ]\n</Plda>", "rows of 1 and 2 numbers"),
        (b"<Plda> [\n 1 2\n 3 4 ]\n [\n 1 2\n 3 4 ]\n [ 1 2 ]\n</Plda>", "mean of size 2 x 2"),
        (b"\x80\x04\x95pickle", "expected <Plda>"),
    ],
)
def test_hostile_text_is_refused_in_one_line(tmp_path, text, match):
    refused(tmp_path, text, match)


def test_a_missing_file_is_refused_in_one_line(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        read_kaldi_plda(tmp_path / "plda")
