"""What the extractions share: one writer, work that is done only once, shards, tables, and the manifest last.

A run that finds its work done says so and does nothing; one that finds it half done goes on.  Whether it is the
same work is decided by the options, the tables of the data directory and what manifests say about the archives that
they list; neither audio nor archives are read for that.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sv_toolkit import __version__
from sv_toolkit.data.data_dir import DataDir, Utterance, copy_tables, read_skipped, write_skipped
from sv_toolkit.data.digests import INDICES, tables_digest
from sv_toolkit.data.forms import BASE_TABLES, foreign_tables
from sv_toolkit.errors import OutputError, plain
from sv_toolkit.io.audio import AudioRequest
from sv_toolkit.io.files import loose_permissions, make_directory
from sv_toolkit.io.manifest import describe_file, read_manifest, write_manifest
from sv_toolkit.io.parts import Share
from sv_toolkit.io.shards import Process, Sharded, Written, refuse_foreign, same_job_started, some_reasons
from sv_toolkit.io.work import Work
from sv_toolkit.io.workers import available_cpus

logger = logging.getLogger("sv_toolkit")
AUDIO_TABLES = ("wav.scp", "segments", "utt2spk", "reco2file_and_channel", "utt2speed")


@dataclass(frozen=True)
class AudioOptions:
    """How recordings are read.

    Attributes:
        channel: which one, counted from 0, where `reco2file_and_channel` says nothing; None: there is only one.
        resample: convert recordings of another sample rate; without it they are an error.
        allow_pipes: run the commands that wav.scp holds.
    """

    channel: int | None = None
    resample: bool = False
    allow_pipes: bool = False

    def request(self, utterance: Utterance, sample_rate: int) -> AudioRequest:
        """What to ask `read_waveform` for."""
        return AudioRequest(
            path=utterance.wav,
            where=utterance.wav_where,
            utterance_id=utterance.utterance_id,
            start=utterance.start,
            end=utterance.end,
            channel=self.channel if utterance.channel is None else utterance.channel,
            sample_rate=sample_rate,
            resample=self.resample,
            speed=utterance.speed,
            allow_pipes=self.allow_pipes,
        )

    def job(self) -> dict[str, Any]:
        """The options that can change the result."""
        return {"channel": self.channel, "resample": self.resample}


def _no_progress(total: int) -> AbstractContextManager[Callable[[int], None]]:
    return contextlib.nullcontext(lambda count: None)


@dataclass(frozen=True)
class RunOptions:
    """How a run goes about its work; none of it changes the result.

    Attributes:
        num_jobs: processes; None: one for each processor.
        max_bad: how many utterances may be skipped.
        overwrite: replace what another run left in the output directory.
        progress: makes, from the number of utterances, a context that yields a function to be told of finished ones.
        share: a part of the work, or the step that joins all parts (`io.parts`); None: all of it.
    """

    num_jobs: int | None = None
    max_bad: int = 0
    overwrite: bool = False
    progress: Callable[[int], AbstractContextManager[Callable[[int], None]]] = _no_progress
    share: Share = None


@dataclass(frozen=True)
class Extraction:
    """One table to be made.

    Attributes:
        command: who makes it, for messages and skipped.tsv.
        name: of the manifest, "fbank".
        table: of the archives and their index, "feats".
        config: the options, JSON-ready.
        extra: what else decides about the result, JSON-ready.
        inputs: tables of the data directory that decide about the result.
        indices: those of the inputs whose archives decide about it as well.
        rivals: names of the manifests of others that make the same table; they go when it is replaced.
        is_data_dir: another output directory becomes a data directory too.
        copied: tables, besides those that describe recordings and speakers, that belong into another output directory ...
        described: ... and the names of the manifests that say how these were made: models are compared with them.
    """

    command: str
    name: str
    table: str
    config: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = AUDIO_TABLES
    indices: tuple[str, ...] = INDICES
    rivals: tuple[str, ...] = ()
    is_data_dir: bool = True
    copied: tuple[str, ...] = ()
    described: tuple[str, ...] = ()

    def job(self, data: Path, out: Path) -> dict[str, Any]:
        """What the manifest in `out` says was asked for; tables that are copied there are a part of the work."""
        is_copied = self.is_data_dir and not is_same(data, out)
        names = (*self.inputs, *BASE_TABLES, *foreign_tables(data)) if is_copied else self.inputs
        digests = tables_digest(data, names, (*self.indices, *self.copied) if is_copied else self.indices)
        return {"command": self.command, "version": __version__, "config": self.config, **self.extra, "data": digests}


def run(
    extraction: Extraction,
    data: DataDir,
    out: Path,
    items: list[Any],
    item_id: Callable[[Any], str],
    process: Process,
    options: RunOptions,
    more_tables: Callable[[Written], Mapping[str, Mapping[str, str]]] = lambda written: {},
) -> int:
    """Make the table in the directory `out`, which may be that of `data`; the number of its entries.

    Args:
        process: arrays or reasons for a list of items; must be picklable.
        more_tables: further tables by file name, made from what was written.

    Raises:
        OutputError: `out` is in use, cannot be written, or holds something else.
        TooManyBadError: more utterances than allowed have no result.
    """
    job = extraction.job(data.path, out)
    with Work(out, extraction.name, job, extraction.table, options.share, options.overwrite, extraction.rivals) as work:
        if work.is_done():
            return _count(out, extraction.name)
        if work.is_first:
            _refuse_other_work(extraction, work.target, data, options.overwrite)
            if warning := loose_permissions(out):
                logger.warning("%s", warning)
        work.begin()
        with options.progress(len(items)) as advance:
            written = work.shards(items, item_id, process, options.num_jobs or available_cpus(), options.max_bad, advance)
        _warn_of_skipped(written.skipped, len(items))
        if not work.is_part:
            _complete(extraction, work, data, written, more_tables(written))
        return len(written.scp)


def _count(out: Path, name: str) -> int:
    manifest = read_manifest(out, name)
    return manifest.counts.get("utterances", 0) if manifest is not None else 0


def _refuse_other_work(extraction: Extraction, target: Sharded, data: DataDir, overwrite: bool) -> None:
    """Stop before anything of another run, or of another data directory, is replaced."""
    if extraction.is_data_dir and is_same(target.directory, data.path) and not overwrite:
        _set_aside(extraction, target)
    refuse_foreign(target, extraction.name, overwrite)
    if overwrite or not extraction.is_data_dir or is_same(target.directory, data.path) or _is_begun(extraction, target):
        return
    for name in ("utt2spk", "wav.scp", "segments", *(name for name in extraction.copied if data.table(name) is not None)):
        own = target.directory / name
        if own.exists() and not _is_equal(own, data.path / name):
            raise OutputError(f"{plain(own)}: exists and is not that of {plain(data.path)}; give --overwrite, or another output directory")


def _set_aside(extraction: Extraction, target: Sharded) -> None:
    """Move an index of archives elsewhere, of another program or directory, to `.backup`, as Kaldi's scripts do; they stay."""
    index = target.directory / f"{target.name}.scp"
    manifest = read_manifest(target.directory, extraction.name)
    is_ours = target.partial.exists() or (manifest is not None and any(name.endswith(".ark") for name in manifest.files))
    if is_ours or not index.exists() or any(target.directory.glob(f"{target.name}.[0-9]*.ark")):
        return
    backup = make_directory(target.directory / ".backup") / index.name
    if backup.exists():
        raise OutputError(f"{plain(index)}: is of another program or directory, and {plain(backup)} exists already; remove one of them")
    index.rename(backup)
    logger.warning("%s: is of another program or directory and was moved to %s", plain(index), plain(backup))


def _is_begun(extraction: Extraction, target: Sharded) -> bool:
    """True if this very work was begun, or done, in the directory: what lies there is its own."""
    manifest = read_manifest(target.directory, extraction.name)
    return (manifest is not None and manifest.job == target.job) or same_job_started(target)


def _is_equal(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def is_same(one: Path, other: Path) -> bool:
    """True if both paths lead to the same directory."""
    return one.resolve() == other.resolve()


def _warn_of_skipped(skipped: dict[str, str], num_items: int) -> None:
    if skipped:
        logger.warning("%d of %d utterances skipped, see skipped.tsv: %s", len(skipped), num_items, some_reasons(skipped))


def _complete(extraction: Extraction, work: Work, data: DataDir, written: Written, more_tables: Mapping[str, Mapping[str, str]]) -> None:
    """Write the tables, the index of the archives after them, and the manifest last."""
    if extraction.is_data_dir and not is_same(work.out, data.path):
        _copy(extraction, data, work.out, written.scp)
    for name, entries in more_tables.items():
        work.table(name, entries)
    write_skipped(work.out, extraction.command, written.skipped)
    work.finish({"utterances": len(written.scp), "skipped": len(written.skipped)})


def _copy(extraction: Extraction, data: DataDir, out: Path, keep: Iterable[str]) -> None:
    """The tables of `data` for the utterances `keep`, and what it says about those that were lost before."""
    copied = [name for name in extraction.copied if data.table(name) is not None]
    copy_tables(data, out, keep, copied)
    for command in sorted({line[1] for line in read_skipped(data.path)} - {extraction.command}):
        write_skipped(out, command, {line[0]: line[2] for line in read_skipped(data.path) if line[1] == command})
    for name in extraction.described:
        manifest = read_manifest(data.path, name)
        if manifest is not None and copied:
            write_manifest(out, replace(manifest, files={table: describe_file(out / table) for table in copied}))
