"""PLDA models between the folders of back ends and Kaldi's files."""

from __future__ import annotations

from pathlib import Path

from sv_toolkit.backends.backend import Backend, BackendConfig
from sv_toolkit.backends.fitting import KIND
from sv_toolkit.backends.kaldi_plda import read_kaldi_plda, write_kaldi_plda
from sv_toolkit.backends.store import DESCRIPTION, load_backend, save_backend
from sv_toolkit.errors import DataError, OutputError, plain
from sv_toolkit.io.files import make_directory, sha256_file


def copy_plda(source: Path, out: Path, binary: bool = True, plda_length: str = "none", overwrite: bool = False) -> str:
    """From the folder of a back end to Kaldi's file, or from that file to a folder; says what was written.

    Args:
        binary: of Kaldi's file.
        plda_length: of the back end; see `DiagonalPlda.project`.

    Raises:
        SvError: the source is damaged or has no PLDA model, or `out` is there already.
    """
    if ((out / DESCRIPTION).exists() or out.is_file()) and not overwrite:
        raise OutputError(f"{plain(out)}: is there already; choose another name, or --overwrite replaces it")
    return _to_kaldi(source, out, binary) if source.is_dir() else _from_kaldi(source, out, plda_length)


def _to_kaldi(source: Path, out: Path, binary: bool) -> str:
    backend, _ = load_backend(source, KIND)
    if backend.plda is None:
        raise DataError(f"{plain(source)}: this back end scores by the cosine, it has no PLDA model")
    make_directory(out.parent)
    write_kaldi_plda(out, backend.plda.diagonal, binary)
    length = backend.config.plda_length
    note = "" if length == "none" else f"; the length {length!r} is not in that file: give --plda-length {length} to read it back"
    return f"PLDA of {len(backend.plda.mean_)} dimensions in {plain(out)}, for vectors as they are after: {backend.summary()}{note}"


def _from_kaldi(source: Path, out: Path, plda_length: str) -> str:
    model = read_kaldi_plda(source)
    within, between = model.covariances()
    backend = Backend(BackendConfig(center=False, lda_dim=0, length_norm="none", plda_length=plda_length))
    backend.load_arrays({"plda.mean": model.mean, "plda.within_covariance": within, "plda.between_covariance": between})
    job = {"command": "sv-copy-plda", "model": None, "kaldi": sha256_file(source)}
    save_backend(out, KIND, backend, {"job": job, "counts": {"dim": model.dim}})
    return f"{backend.summary()} in {plain(out)}; next: sv-score TRIALS --backend {plain(out)}"
