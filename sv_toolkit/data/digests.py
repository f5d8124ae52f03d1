"""What decides about work on a data directory: digests of its tables, and of the archives that they list."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sv_toolkit.errors import DataError
from sv_toolkit.io.files import regular_file, sha256_bytes
from sv_toolkit.io.manifest import digest_of, read_manifest

INDICES = ("feats.scp", "vad.scp")  # tables that list archives of ours; the audio of wav.scp is not looked at
STORED = ("utt2spk", *INDICES)  # what training and inference read


def tables_digest(data: Path, names: Iterable[str], indices: Iterable[str] = INDICES) -> dict[str, str]:
    """Digest of each table in `names` that lies in `data`, and for those in `indices` one of the archives they list.

    Features of the same shapes made with other options have an index of the same bytes: only the archives differ.  A
    damaged index has a digest, too; whoever reads it says what is wrong with it.
    """
    archives = set(indices)
    digests = {}
    for name in dict.fromkeys(names):
        if not regular_file(data / name):
            continue
        content = (data / name).read_bytes()
        digests[name] = sha256_bytes(content)
        if name in archives:
            digests[f"archives of {name}"] = digest_of(_archives(content.decode("utf-8", "surrogateescape")))
    return digests


def _archives(index: str) -> list[Any]:
    """What tells the archives of an index from others, without reading them: they may hold terabytes."""
    values = (line.split(maxsplit=1)[-1] for line in index.split("\n") if line.strip() and "\0" not in line)
    paths = sorted({_archive(value.rstrip()) for value in values})
    listed = {folder: _listed(folder) for folder in {Path(path).parent for path in paths}}
    return [_state(Path(path), listed[Path(path).parent]) for path in paths]


def _archive(value: str) -> str:
    """The path in a value of an index: without range and offset, unchecked, as this runs over millions of lines."""
    if value.endswith("]"):
        value = value.rpartition("[")[0]
    path, _, offset = value.rpartition(":")
    return path if offset.isdecimal() else value


def _listed(folder: Path) -> dict[str, Any]:
    """What the manifests in a folder say about its files."""
    files: dict[str, Any] = {}
    for path in sorted(folder.glob("*.manifest.json")):
        try:
            manifest = read_manifest(folder, path.name.removesuffix(".manifest.json"))
        except DataError:
            continue  # whoever needs the manifest itself says what is wrong with it
        files.update(manifest.files if manifest is not None else {})
    return files


def _state(archive: Path, listed: dict[str, Any]) -> Any:
    """Size and checksum where a manifest knows them, else size and time of the last change; None for a missing archive."""
    try:
        found = archive.stat()
    except OSError:
        return None
    known = listed.get(archive.name)
    return known if known is not None and known["size"] == found.st_size else [found.st_size, found.st_mtime_ns]
