"""Carrying out the plan of a fix: originals to `.backup/`, files replaced, manifests kept true; a killed run is undone first."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from sv_toolkit.data.fixing import Audio, Plan, plan_fix, refuse_odd_files
from sv_toolkit.data.forms import directory_problems, refuse
from sv_toolkit.errors import DataError, shown
from sv_toolkit.io.files import locked, make_directory, whole_binary, write_text
from sv_toolkit.io.manifest import describe_file, read_manifest, write_manifest
from sv_toolkit.io.tables import place

DROPPED = "dropped.tsv"
BACKUP = ".backup"
_OPEN = ".backup.open"  # the backup of a fix that has not ended
_ABSENT = "absent"  # lists files that were not there before; written last, so that it says that the backup is whole


def fix(path: Path, bad_audio: Audio | None = None) -> tuple[Plan, list[str]]:
    """Fix the data directory `path` in place; the plan, and the names of the files that were changed.

    The originals of these lie in `.backup/1` (`2`, ...); what was dropped is listed in `dropped.tsv`, lines
    `id<TAB>file:line<TAB>reason`.

    Raises:
        DataError: it cannot be fixed; nothing was changed.
    """
    refuse(directory_problems(path))
    with locked(path):
        _undo_killed(path)
        refuse_odd_files(path, [DROPPED])
        plan = plan_fix(path, bad_audio)
        changes = plan.changes(path)
        if changes:
            changes[DROPPED] = "".join(f"{drop}\n" for drop in plan.drops)
            _carry_out(path, changes)
    return plan, sorted(changes)


def _carry_out(path: Path, changes: dict[str, str | None]) -> None:
    manifests = _manifests_with(path, set(changes))
    _back_up(path, [*changes, *manifests])
    for name, text in sorted(changes.items()):
        if text is None:
            (path / name).unlink(missing_ok=True)
        else:
            write_text(path / name, text)
    for name in manifests:
        _refresh(path, name.removesuffix(".manifest.json"), set(changes))
    folder = make_directory(path / BACKUP)
    numbers = [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()]
    (path / _OPEN).rename(folder / str(max(numbers, default=0) + 1))


def _manifests_with(path: Path, names: set[str]) -> list[str]:
    found = []
    for file in sorted(path.glob("*.manifest.json")):
        try:
            manifest = read_manifest(path, file.name.removesuffix(".manifest.json"))
        except DataError:
            raise DataError(f"{place(file)}: damaged manifest; delete it, then sv-fix-data can go on") from None
        if manifest is not None and names & manifest.files.keys():
            found.append(file.name)
    return found


def _refresh(path: Path, name: str, changed: set[str]) -> None:
    """Record the changed files' new digests; the job is no longer the one that made them."""
    manifest = read_manifest(path, name)
    if manifest is None:
        return
    files = {
        key: describe_file(path / key) if key in changed else known
        for key, known in manifest.files.items()
        if (path / key).exists() or key not in changed
    }
    write_manifest(path, replace(manifest, job={**manifest.job, "changed by": "sv-fix-data"}, files=files))


def _back_up(path: Path, names: list[str]) -> None:
    backup = make_directory(path / _OPEN)
    absent = []
    for name in sorted(names):
        if (path / name).exists():
            _copy(path / name, backup / name)
        else:
            absent.append(name)
    write_text(backup / _ABSENT, "".join(f"{name}\n" for name in absent))


def _copy(source: Path, target: Path) -> None:
    with open(source, "rb") as stream, whole_binary(target) as copy:
        shutil.copyfileobj(stream, copy)


def _absent_names(backup: Path) -> list[str]:
    """What the backup says was not there; a directory from elsewhere must not name files of other places."""
    names = (backup / _ABSENT).read_bytes().decode("utf-8", "surrogateescape").splitlines()
    foreign = [name for name in names if name in ("", "..") or name != Path(name).name or not name.isprintable()]
    links = [entry.name for entry in [backup, *backup.iterdir()] if entry.is_symlink()]
    if foreign or links:
        raise DataError(f"{place(backup)}: not a backup of sv-fix-data, it names {shown((foreign + links)[0])}; delete it")
    return names


def _undo_killed(path: Path) -> None:
    """Bring back the originals if a fix was killed while it wrote."""
    backup = path / _OPEN
    if (backup / _ABSENT).exists():
        for name in _absent_names(backup):
            (path / name).unlink(missing_ok=True)
        for original in sorted(backup.iterdir()):
            if original.name != _ABSENT and not original.name.startswith("."):
                _copy(original, path / original.name)
        (backup / _ABSENT).unlink()  # first, so that a kill here does not undo what a later fix writes
    shutil.rmtree(backup, ignore_errors=True)
