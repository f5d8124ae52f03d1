"""Text files that a command writes to a directory of its own: all of them or none, never over another run's."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sv_toolkit.data.data_dir import invert
from sv_toolkit.data.forms import FORMS
from sv_toolkit.data.skipped import SKIPPED
from sv_toolkit.errors import DataError, OutputError
from sv_toolkit.io.files import make_directory, remove_leftovers, remove_leftovers_of, whole_binary, write_text, write_together
from sv_toolkit.io.manifest import digest_of, is_finished, is_mark_of, read_manifest
from sv_toolkit.io.tables import format_table, place
from sv_toolkit.io.work import Work

NAME = "data"  # of the manifest
_STARTED = f".{NAME}.started"

Tables = Mapping[str, Mapping[str, str]]


def as_texts(tables: Tables, skipped: str = "") -> dict[str, str]:
    """The files of a data directory by name; spk2utt follows from utt2spk.

    Args:
        skipped: content of skipped.tsv, written if there is any.
    """
    texts = {name: format_table(table) for name, table in tables.items() if name != "spk2utt"}
    if "utt2spk" in tables:
        texts["spk2utt"] = format_table({key: " ".join(value) for key, value in invert(tables["utt2spk"]).items()})
    return texts | ({SKIPPED: skipped} if skipped else {})


def write_output(
    out: Path, texts: Mapping[str, str], job: dict[str, Any], counts: dict[str, int], overwrite: bool, sources: Iterable[Path] = ()
) -> bool:
    """Write the files `texts` below `out` and a manifest last; False if exactly that lies there already.

    A run that was killed is finished by the same command.

    Args:
        job: what was asked for; with the files' content it decides whether the work is done already.
        sources: directories that the texts were made of.

    Raises:
        OutputError: `out` holds something else and `overwrite` is not given, or files of a source would be replaced.
    """
    job = _whole_job(texts, job)
    _refuse_sources(out, texts, sources)
    if not overwrite and not _traces(out) and _is_done(out, job):
        return False
    _refuse_foreign(out, job, overwrite)
    with Work(out, NAME, job, overwrite=overwrite) as work:
        if not overwrite and _is_done(out, job):
            (out / _STARTED).unlink(missing_ok=True)  # a run was killed just before its last act
            return False
        _refuse_foreign(out, job, overwrite)
        _write(work, texts, counts)
    return True


def refuse_other_output(out: Path, texts: Mapping[str, str], job: dict[str, Any], overwrite: bool) -> None:
    """Raise what `write_output` would, before anything else is written for it."""
    _refuse_foreign(out, _whole_job(texts, job), overwrite)


def _whole_job(texts: Mapping[str, str], job: dict[str, Any]) -> dict[str, Any]:
    return {**job, "content": digest_of(dict(texts))}


def _traces(out: Path) -> bool:
    """Is somebody writing here, or was killed while writing?"""
    return (out / ".lock").exists() or (out / _STARTED).exists()


def _is_done(out: Path, job: dict[str, Any]) -> bool:
    return out.is_dir() and is_finished(out, NAME, job)


def _write(work: Work, texts: Mapping[str, str], counts: dict[str, int]) -> None:
    """The old files go only when the new ones are all on the disk, and only need their names."""
    write_text(work.out / _STARTED, digest_of(work.job))
    for folder in {(work.out / name).parent for name in texts}:
        remove_leftovers(make_directory(folder))
    try:
        write_together({work.out / name: texts[name] for name in sorted(texts)}, partial(_remove_old, work.out))
    except OSError:
        if read_manifest(work.out, NAME) is not None:  # what was there is as it was
            (work.out / _STARTED).unlink(missing_ok=True)
        raise
    for name in sorted(texts):
        work.add(name)
    work.finish(counts)
    (work.out / _STARTED).unlink()


def _refuse_foreign(out: Path, job: dict[str, Any], overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise OutputError(f"{place(out)}: is a file, a directory is needed")
    if overwrite or not out.exists() or all(file.name.startswith(".") for file in out.iterdir()):
        return
    if is_mark_of(out / _STARTED, job):
        return
    manifest = read_manifest(out, NAME)
    if manifest is None or manifest.job != job:
        raise OutputError(f"{place(out)}: exists, is not empty and is not of this run; give --overwrite, or another output directory")


def _refuse_sources(out: Path, texts: Mapping[str, str], sources: Iterable[Path]) -> None:
    """Never write where the input lies: it goes before the output is whole, and may be more than is written."""
    folders = {(out / name).parent.resolve() for name in (*texts, *_old_files(out))}
    for source in sources:
        if source.resolve() in folders:
            raise OutputError(f"{place(out)}: would replace its own input {place(source)}; give another output directory")


def _old_files(out: Path) -> set[str]:
    """Names of what may lie here of an earlier run."""
    try:
        manifest = read_manifest(out, NAME) if out.is_dir() else None
    except DataError:
        manifest = None
    return {*FORMS, SKIPPED, *(manifest.files if manifest else {})}


def _remove_old(out: Path) -> None:
    """Drop the files of an earlier run here: what is not written anew would change the meaning of the directory."""
    names = _old_files(out)
    for stale in out.glob("*.manifest.json"):
        stale.unlink()
    for name in names:
        if (out / name).parent.resolve().is_relative_to(out.resolve()):  # not through a link to elsewhere
            (out / name).unlink(missing_ok=True)


def write_new_files(files: Mapping[Path, bytes], overwrite: bool) -> None:
    """Write single files, each whole or absent, in this order; one that holds the same bytes already is left alone.

    Raises:
        OutputError: a file holds something else and `overwrite` is not given; then nothing is written.
    """
    todo = {path: data for path, data in files.items() if not _holds(path, data)}
    for path in todo:
        if path.is_dir():
            raise OutputError(f"{place(path)}: is a directory, a file name is needed")
        if path.exists() and not overwrite:
            raise OutputError(f"{place(path)}: exists and holds something else; give --overwrite, or another name with -o")
    for path, data in todo.items():
        make_directory(path.parent)
        remove_leftovers_of(path)  # other files' temporaries are not ours to judge
        with whole_binary(path) as stream:
            stream.write(data)


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def say(written: bool, out: Path, what: str) -> None:
    """One line about what was done."""
    logging.getLogger("sv_toolkit").info("%s: %s", place(out), what if written else f"already done and unchanged ({what}); nothing to do")
