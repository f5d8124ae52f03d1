"""What made a directory, from what, and the digests of what it holds; written last.

A directory without its manifest is unfinished, whatever else lies in it.  A manifest holds neither time
nor host nor number of jobs, so that two runs of the same work write the same bytes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sv_toolkit.errors import MALFORMED, DataError, plain
from sv_toolkit.io.files import read_json, sha256_bytes, sha256_file, write_text

FORMAT = 1
LARGE = 1 << 24  # larger files are compared by size when a run asks whether its work is done; --read-data compares digests


@dataclass(frozen=True)
class Manifest:
    """`job` says what was asked for, `counts` what came of it, `files` what lies there."""

    name: str
    job: dict[str, Any]
    counts: dict[str, int] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)


def manifest_path(directory: Path, name: str) -> Path:
    """Where the manifest of the job `name` ("feats") lies."""
    return directory / f"{name}.manifest.json"


def describe_file(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256; of an scp file, without the name of its own directory.

    An scp holds absolute paths of the archives beside it.  The same work then has the same manifest wherever it is done.
    """
    if path.suffix == ".scp":
        return describe_bytes(path, path.read_bytes())
    return {"size": path.stat().st_size, "sha256": sha256_file(path)}


def describe_bytes(path: Path, content: bytes) -> dict[str, Any]:
    """What `describe_file` says once `content` lies at `path`."""
    if path.suffix == ".scp":
        content = content.replace(f" {os.path.abspath(path.parent)}{os.sep}".encode(), b" ")  # noqa: PTH100 (links stay links)
    return {"size": len(content), "sha256": sha256_bytes(content)}


def manifest_text(manifest: Manifest) -> str:
    """The manifest as it stands in its file."""
    content = {"format": FORMAT, "job": manifest.job, "counts": manifest.counts, "files": manifest.files}
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write it whole; this is the last thing that a command does."""
    write_text(manifest_path(directory, manifest.name), manifest_text(manifest))


class DamagedManifest(DataError):
    """The file is there, and what it says cannot be understood."""


def read_manifest(directory: Path, name: str) -> Manifest | None:
    """The manifest, or None where there is none.

    Raises:
        DataError: it is there but cannot be understood.
    """
    path = manifest_path(directory, name)
    if path.exists() and not path.is_file():
        raise DataError(f"{plain(path)}: is not a regular file; delete it, and --overwrite makes the directory anew")
    try:
        content = read_json(path)
        if content["format"] != FORMAT:
            raise DataError(
                f"{plain(path)}: manifest format {plain(content['format'])}, this version reads {FORMAT}; --overwrite makes it anew"
            )
        if any(not file.isprintable() or Path(file).is_absolute() or {"..", ""} & {file, *Path(file).parts} for file in content["files"]):
            raise ValueError("a file outside the directory")
        sizes = {file: {"size": int(known["size"]), "sha256": str(known["sha256"])} for file, known in content["files"].items()}
        return Manifest(name, dict(content["job"]), dict(content["counts"]), sizes)
    except FileNotFoundError:
        return None
    except MALFORMED:
        raise DamagedManifest(f"{plain(path)}: damaged manifest; --overwrite makes the directory anew") from None


def made_with(directory: Path, name: str) -> dict[str, Any] | None:
    """The options that the manifest says things were made with, or None where there is none.

    Raises:
        DataError: it cannot be understood, or does not say.
    """
    manifest = read_manifest(directory, name)
    if manifest is None:
        return None
    config = manifest.job.get("config")
    if not isinstance(config, dict):
        raise DataError(f"{plain(manifest_path(directory, name))}: does not say with which options; --overwrite makes the directory anew")
    return config


def is_mark_of(path: Path, job: dict[str, Any]) -> bool:
    """True if the file `path` is what a run of `job` marks its beginning with; it may hold anything, or not be there."""
    return path.is_file() and path.read_bytes() == digest_of(job).encode()


def is_finished(directory: Path, name: str, job: dict[str, Any]) -> bool:
    """True if `job` is done here and every file of it still lies there unchanged."""
    manifest = read_manifest(directory, name)
    return manifest is not None and manifest.job == job and not damaged_files(directory, manifest, thorough=False)


def damaged_files(directory: Path, manifest: Manifest, thorough: bool) -> list[str]:
    """Sentences about files that are missing or changed; `thorough` reads large files too."""
    findings = []
    for name, known in sorted(manifest.files.items()):
        path = directory / name
        if not path.is_file():
            findings.append(f"{name} is missing")
        elif path.suffix != ".scp" and path.stat().st_size != known["size"]:
            findings.append(f"{name} has {path.stat().st_size} bytes, {known['size']} were written")
        elif path.suffix == ".scp" and describe_file(path) != known:
            findings += _changed_index(path, known)
        elif (thorough or known["size"] <= LARGE) and path.suffix != ".scp" and describe_file(path) != known:
            findings.append(f"{name} is corrupt: its checksum is not the one recorded when it was written")
    return findings


def _changed_index(path: Path, known: dict[str, Any]) -> list[str]:
    """What is wrong with an scp file whose bytes are not those that were written: nothing in a copy, whose archives lie elsewhere."""
    content = path.read_bytes()
    folder = os.path.dirname(content.split(b"\n", 1)[0].partition(b" ")[2])  # noqa: PTH120 (bytes)
    moved = content.replace(b" " + folder + os.sep.encode(), b" ")
    if not folder or {"size": len(moved), "sha256": sha256_bytes(moved)} != known:
        lines = content.count(b"\n")
        return [f"{path.name} ({lines} lines) is not the one that was written: it was filtered or edited, or is damaged"]
    if os.path.isdir(folder):  # noqa: PTH112 (bytes)
        return []
    old = plain(os.fsdecode(folder))
    return [f"{path.name} points to {old}, which is not there: the directory was moved; {way_back(path, old)}"]


def way_back(index: Path, old: str) -> str:
    """How to make an index of archives good whose directory was moved from `old`."""
    here = plain(os.path.abspath(index.parent))  # noqa: PTH100 (links stay links)
    return f"sed -i 's| {old}/| {here}/|' {plain(index)}, or make it again"


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-ready value, the same for equal values."""
    return sha256_bytes(json.dumps(value, sort_keys=True, ensure_ascii=False).encode())
