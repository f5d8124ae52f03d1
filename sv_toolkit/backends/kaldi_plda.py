"""Kaldi's file of a PLDA model: `<Plda>`, mean, transform, psi, `</Plda>`; binary or text.

The mean is a vector, the transform a matrix that makes the within-speaker covariance the identity and the
between-speaker covariance diagonal, psi that diagonal.  Kaldi writes float64.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from sv_toolkit.backends.plda_scoring import DiagonalPlda
from sv_toolkit.errors import ArchiveError, ModelError, plain, shown
from sv_toolkit.io import kaldi_text
from sv_toolkit.io.ark import Ark
from sv_toolkit.io.files import whole_binary
from sv_toolkit.io.kaldi_matrix import BINARY, MAX_HEADER, decode_rows, encode_body

BEGIN, END = b"<Plda>", b"</Plda>"
MAX_TEXT_BYTES = 1 << 26  # a model of 1700 dimensions as text
_BLANKS = b" \t\n"


def read_kaldi_plda(path: Path) -> DiagonalPlda:
    """The model in Kaldi's file `path`, binary or text.

    Every size is checked against the file, and against the others, before memory is taken for it.

    Raises:
        ModelError: no PLDA model of Kaldi, truncated, or parameters that no model has; names the file.
    """
    try:
        with contextlib.closing(Ark(str(path))) as ark:
            is_binary = ark.read_some(0, 2) == BINARY
            mean, transform, psi = _read_binary(ark) if is_binary else _read_text(ark)
        return _checked(mean, transform, psi)
    except ArchiveError as error:
        raise ModelError(f"{plain(path)}: not a usable PLDA model of Kaldi: {error}") from None


def write_kaldi_plda(path: Path, model: DiagonalPlda, binary: bool = True) -> None:
    """Write `model` as Kaldi's programs read it; the file is whole or absent."""
    arrays = [np.ascontiguousarray(array, np.float64) for array in (model.mean, model.transform, model.psi)]
    if binary:
        content = BINARY + BEGIN + b" " + b"".join(map(encode_body, arrays)) + END + b" "
    else:
        content = BEGIN + b" " + b"".join(map(_as_text, arrays)) + END + b" "
    with whole_binary(Path(path)) as stream:
        stream.write(content)


def _as_text(array: np.ndarray) -> bytes:
    if array.ndim == 1:
        return f" [ {' '.join(map(repr, array.tolist()))} ]\n".encode()
    return (" [" + "".join(f"\n  {' '.join(map(repr, row))} " for row in array.tolist()) + "]\n").encode()


def _read_binary(ark: Ark) -> list[np.ndarray]:
    offset = _after_token(ark, len(BINARY), BEGIN)
    arrays: list[np.ndarray] = []
    for ndim in (1, 2, 1):
        header = ark.header(offset - len(BINARY), BINARY + ark.read_some(offset, MAX_HEADER))  # the mark stands once, at the start
        if header.token not in ("FV", "DV", "FM", "DM"):
            raise ArchiveError(f"{header.token} where a vector or matrix of floating-point numbers belongs")
        _check_shape(header.shape, ndim, arrays)
        arrays.append(decode_rows(header, ark.read_exactly, 0, header.rows).astype(np.float64))
        offset = header.end
    _check_end(ark, offset)
    return arrays


def _read_text(ark: Ark) -> list[np.ndarray]:
    if ark.size > MAX_TEXT_BYTES:
        raise ArchiveError(f"{ark.size} bytes is too large for a model in text form")
    offset = _after_token(ark, 0, BEGIN)
    arrays: list[np.ndarray] = []
    for ndim in (1, 2, 1):
        offset = _after_blanks(ark, offset)
        if ark.read_some(offset, 1) != b"[":
            raise ArchiveError(f"expected [ and numbers, the bytes there are {shown(ark.read_some(offset, 20).decode('latin-1'))}")
        array, offset = kaldi_text.read_text(ark.read_some, offset, np.float64)
        _check_shape(array.shape, ndim, arrays)
        arrays.append(array)
    _check_end(ark, offset)
    return arrays


def _after_token(ark: Ark, offset: int, token: bytes) -> int:
    offset = _after_blanks(ark, offset)
    there = ark.read_some(offset, len(token) + 1)
    if there[: len(token)] != token or there[len(token) :].strip(_BLANKS):
        raise ArchiveError(f"expected {token.decode()} at byte {offset}, the bytes there are {shown(there.decode('latin-1'))}")
    return offset + len(there)


def _after_blanks(ark: Ark, offset: int) -> int:
    some = ark.read_some(offset, 64)
    return offset + len(some) - len(some.lstrip(_BLANKS))


def _check_end(ark: Ark, offset: int) -> None:
    end = _after_token(ark, offset, END)
    if ark.read_some(end, 64).strip(_BLANKS):
        raise ArchiveError(f"something stands after {END.decode()}")


def _check_shape(shape: tuple[int, ...], ndim: int, before: list[np.ndarray]) -> None:
    """The first vector says the dimension; a matrix of another is refused before it is read."""
    dim = before[0].shape[0] if before else shape[0]
    if len(shape) != ndim or any(size != dim for size in shape) or not dim:
        name = ("mean", "transform", "psi")[len(before)]
        wanted = " x ".join([str(dim or "dim")] * ndim)
        raise ArchiveError(f"{name} of size {' x '.join(map(str, shape))}, {wanted} is needed")


def _checked(mean: np.ndarray, transform: np.ndarray, psi: np.ndarray) -> DiagonalPlda:
    for name, array in (("mean", mean), ("transform", transform), ("psi", psi)):
        if not np.isfinite(array).all():
            raise ArchiveError(f"{name} holds values that are not finite")
    if psi.min() < 0:
        raise ArchiveError(f"psi holds a negative variance, {psi.min():g}")
    if np.linalg.matrix_rank(transform) < len(psi):
        raise ArchiveError("the transform is singular")
    return DiagonalPlda(mean, transform, psi)
