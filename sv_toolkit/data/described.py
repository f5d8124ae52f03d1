"""Manifests that say how features were made, for data directories that are made of others: models are compared with them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sv_toolkit.data.data_dir import DataDir
from sv_toolkit.data.digests import tables_digest
from sv_toolkit.errors import DataError
from sv_toolkit.features.registry import FEATURES
from sv_toolkit.io.manifest import Manifest, describe_bytes, made_with, manifest_path, manifest_text, read_manifest
from sv_toolkit.io.tables import format_table, place

_log = logging.getLogger("sv_toolkit")


def described_tables() -> dict[str, tuple[str, ...]]:
    """The tables that a manifest describes, by its name: one for each type of features, and "vad"."""
    return {**dict.fromkeys(FEATURES, ("feats.scp", "utt2num_frames")), "vad": ("vad.scp",)}


def carried(sources: Sequence[DataDir], tables: Mapping[str, Mapping[str, str]], out: Path) -> dict[str, str]:
    """Manifests by file name for the `tables` that are taken from the `sources` to the directory `out`.

    A manifest that not all of them have, or in which they do not agree, is left out with a warning.

    Raises:
        DataError: the features of two sources were made in different ways.
    """
    if "feats.scp" in tables:
        _refuse_other_features(sources)
    texts = {}
    for kind, names in described_tables().items():
        job = _common_job(kind, sources) if names[0] in tables else None
        if job is not None:
            contents = {name: format_table(tables[name]).encode() for name in names if name in tables}
            files = {name: describe_bytes(out / name, content) for name, content in contents.items()}
            texts[manifest_path(out, kind).name] = manifest_text(Manifest(kind, job, {"utterances": len(tables[names[0]])}, files))
    return texts


def refuse_stale(path: Path, table: str, archives: Sequence[str]) -> None:
    """Stop where a data directory says how its features were made, and the directory that owns their archives says otherwise.

    A part of a data directory points into the archives of the whole, which may have been made again since.

    Args:
        table: "feats.scp" or "vad.scp".
        archives: the files that it lists.

    Raises:
        DataError: names both directories and what differs.
    """
    owners = {Path(archive).parent for archive in archives} - {path}
    for owner in sorted(folder for folder in owners if folder.is_dir() and folder.resolve() != path.resolve()):
        kinds = [kind for kind, tables in described_tables().items() if tables[0] == table]
        own, theirs = ({kind: made for kind in kinds if (made := made_with(folder, kind)) is not None} for folder in (path, owner))
        if not own or not theirs:
            continue  # nothing is believed, or nothing is known
        if not own.keys() & theirs.keys():
            differing = f"they are {' and '.join(theirs)}, not {' and '.join(own)}"
        else:
            differing = "; ".join(found for kind in own.keys() & theirs.keys() if (found := differing_options(theirs[kind], own[kind])))
        if differing:
            raise DataError(
                f"{place(path / table)}: its archives in {place(owner)} were made again since: {differing}; make {place(path)} again from it"
            )


def refuse_stale_decisions(path: Path) -> None:
    """Stop where decisions were made here about other features than those that are here now.

    Raises:
        DataError: says which command makes them again.
    """
    manifest = read_manifest(path, "vad")
    if manifest is None or not any(name.endswith(".ark") for name in manifest.files):
        return  # of another program, or taken from another directory
    made_for, key = manifest.job.get("data"), "archives of feats.scp"
    if isinstance(made_for, dict) and key in made_for and made_for[key] != tables_digest(path, ("feats.scp",)).get(key):
        raise DataError(
            f"{place(path / 'vad.scp')}: was made for other features than those of feats.scp now; run sv-compute-vad {place(path)} --overwrite"
        )


def _refuse_other_features(sources: Sequence[DataDir]) -> None:
    known = {data.path: made for data in sources if (made := _feature_configs(data.path))}
    for path, made in known.items():
        first, wanted = next(iter(known.items()))
        if made != wanted:
            what = _difference(made, wanted, place(first))
            raise DataError(f"{place(path)}: {what}; extract one of them again with the command and the options of the other")


def _feature_configs(path: Path) -> dict[str, Any]:
    found = {kind: made_with(path, kind) for kind in FEATURES}
    return {kind: config for kind, config in found.items() if config is not None}


def _difference(made: dict[str, Any], wanted: dict[str, Any], first: str) -> str:
    if made.keys() != wanted.keys():
        return f"the features are of the kind {' and '.join(made)}, those of {first} of the kind {' and '.join(wanted)}"
    kind = next(kind for kind in made if made[kind] != wanted[kind])
    return f"{kind} was made with other options than in {first}: {differing_options(made[kind], wanted[kind])}"


def differing_options(own: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The options that differ, with both values; empty where none does."""
    names = sorted(own.keys() | other.keys())
    return "; ".join(f"{name} {own.get(name)} instead of {other.get(name)}" for name in names if own.get(name) != other.get(name))


def _common_job(kind: str, sources: Sequence[DataDir]) -> dict[str, Any] | None:
    """What the jobs of all sources say alike; None where there is no word of all of them about the options."""
    manifests = [read_manifest(data.path, kind) for data in sources]
    jobs = [manifest.job for manifest in manifests if manifest is not None]
    if not jobs:
        return None
    common = {key: value for key, value in jobs[0].items() if all(job.get(key) == value for job in jobs)}
    if len(jobs) == len(sources) and "config" in common:
        return common
    lacking = next((data for data, manifest in zip(sources, manifests) if manifest is None), None)
    why = f"{place(lacking.path)} does not have it" if lacking is not None else "the options in it differ"
    _log.warning("%s.manifest.json is left out: %s; how this was made is not known to commands any more", kind, why)
    return None
