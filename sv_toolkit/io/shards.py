"""Arrays for many items, written as archive shards that do not depend on the number of jobs.

Shards are cut by the number of items alone.  Each one is whole or absent; beside it, in a hidden
folder, a small record says what it holds.  A run that was killed goes on from the shards that are
there; the folder goes away, and the manifest appears, when everything is done.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit.errors import MALFORMED, OutputError, TooManyBadError, examples, plain
from sv_toolkit.io.archives import encode_record
from sv_toolkit.io.files import make_directory, sha256_file, whole_binary, write_text
from sv_toolkit.io.manifest import digest_of, is_mark_of
from sv_toolkit.io.workers import run_tasks

MIN_SHARD, MAX_SHARD, USUAL_NUM_SHARDS = 8, 2000, 16


@dataclass(frozen=True)
class Skip:
    """Why an item has no array."""

    reason: str


Process = Callable[[list[Any]], Iterable[tuple[str, "np.ndarray | Skip"]]]


@dataclass(frozen=True)
class Sharded:
    """What to write: `name` ("feats") gives `feats.0000.ark`, ... and `feats.scp` in `directory`."""

    directory: Path
    name: str
    job: dict[str, Any]

    @property
    def partial(self) -> Path:
        """The hidden folder of an unfinished run."""
        return self.directory / f".{self.name}.partial"

    def ark(self, index: int) -> Path:
        """The archive of a shard."""
        return self.directory / f"{self.name}.{index:04d}.ark"

    def staged(self, index: int) -> Path:
        """Where the archive of a shard waits until all are there: what an earlier run left stays until then."""
        return self.partial / self.ark(index).name

    def record(self, index: int) -> Path:
        """What a finished shard holds."""
        return self.partial / f"{index:04d}.json"


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        scp: `archive:offset` by item, as `shapes` of the arrays and the reasons of those that were `skipped`; sorted by bytes.
        arks: the archives, and in `files` by name what a manifest says of them.
    """

    scp: dict[str, str]
    shapes: dict[str, list[int]]
    skipped: dict[str, str]
    arks: list[Path]
    files: dict[str, dict[str, Any]]


def cut_shards(items: list[Any]) -> list[list[Any]]:
    """Consecutive runs of items; the cut depends on their number alone."""
    size = min(max(-(-len(items) // USUAL_NUM_SHARDS), MIN_SHARD), MAX_SHARD)
    return [items[start : start + size] for start in range(0, len(items), size)]


def refuse_foreign(target: Sharded, manifest_name: str, overwrite: bool) -> None:
    """Stop before touching an scp that another run or another program wrote.

    Raises:
        OutputError: unless `overwrite`.
    """
    scp = target.directory / f"{target.name}.scp"
    if not overwrite and scp.exists() and not same_job_started(target) and not _manifest_lists(target, manifest_name):
        raise OutputError(f"{plain(scp)}: exists and is not of this run; give --overwrite, or another output directory")


def _manifest_lists(target: Sharded, manifest_name: str) -> bool:
    from sv_toolkit.io.manifest import read_manifest

    manifest = read_manifest(target.directory, manifest_name)
    return manifest is not None and manifest.job == target.job


def same_job_started(target: Sharded) -> bool:
    """True if shards of this very job lie half done in the directory."""
    return is_mark_of(target.partial / "job", target.job)


def write_shards(
    target: Sharded,
    items: list[Any],
    item_id: Callable[[Any], str],
    process: Process,
    num_jobs: int,
    max_bad: int,
    on_progress: Callable[[int], None] = lambda _: None,
    start_method: str = "fork",
    withdraw: Callable[[], None] = lambda: None,
) -> Written:
    """Run `process` over shards of `items` and write its arrays.

    Args:
        process: yields `(id, array or Skip)` for each item of a shard, in order; must be picklable.
        max_bad: how many items may be skipped.
        withdraw: called once all is made, before it takes the place of what an earlier run left.

    Raises:
        TooManyBadError: names the first of them; the finished shards stay for the next run.
    """
    prepare_shards(target)
    shards = cut_shards(items)
    make_shards(target, shards, range(len(shards)), item_id, process, num_jobs, on_progress, start_method)
    written = gather_shards(target, range(len(shards)))
    refuse_too_many(written.skipped, len(items), max_bad)
    place_shards(target, len(shards), withdraw)
    return written


def place_shards(target: Sharded, num_shards: int, withdraw: Callable[[], None]) -> None:
    """Give the archives, all of them made, their names in the directory.

    Args:
        withdraw: takes away what says that an earlier run is complete; its list of archives goes with that.
    """
    withdraw()
    (target.directory / f"{target.name}.scp").unlink(missing_ok=True)
    for index in range(num_shards):
        if target.staged(index).exists():  # else a run that was killed here had placed it
            target.staged(index).replace(target.ark(index))


def make_shards(
    target: Sharded,
    shards: list[list[Any]],
    chosen: Sequence[int],
    item_id: Callable[[Any], str],
    process: Process,
    num_jobs: int,
    on_progress: Callable[[int], None],
    start_method: str,
) -> None:
    """Write the `chosen` ones of all `shards`, unless they are there already without a skipped item."""
    todo = []
    for index in chosen:
        if _is_complete(target, index):
            on_progress(len(shards[index]))
        else:
            todo.append((index, shards[index]))
    describe = partial(_describe, item_id=item_id)
    for count in run_tasks(partial(_write_shard, target, process), todo, num_jobs, describe, start_method):
        on_progress(count)


def refuse_too_many(skipped: dict[str, str], num_items: int, max_bad: int) -> None:
    """Raise TooManyBadError where more were skipped than allowed, or nothing is left."""
    if len(skipped) <= max_bad and len(skipped) < num_items:
        return
    allowed = f"--max-bad {max_bad} allows {max_bad}" if len(skipped) < num_items else "nothing is left"
    raise TooManyBadError(f"{len(skipped)} of {num_items} utterances cannot be used ({allowed}): {some_reasons(skipped)}")


def some_reasons(skipped: Mapping[str, str]) -> str:
    """Why the first three were skipped, and how many more there are."""
    reasons = "; ".join(f"{plain(key)}: {reason}" for key, reason in list(skipped.items())[:3])
    return reasons + (f"; and {len(skipped) - 3} more" if len(skipped) > 3 else "")


def _describe(task: tuple[int, list[Any]], item_id: Callable[[Any], str]) -> str:
    return examples([item_id(item) for item in task[1]], 2)


def prepare_shards(target: Sharded) -> None:
    """Open the work: drop what another job left half done, mark this one as begun."""
    if os.path.lexists(target.partial) and (_holds_links(target.partial) or not same_job_started(target)):
        _remove(target.partial)
    make_directory(target.partial)
    write_text(target.partial / "job", digest_of(target.job))


def _holds_links(folder: Path) -> bool:
    """True for what no run of ours leaves: a file, or a link, whose target is not ours to write or to read."""
    return folder.is_symlink() or not folder.is_dir() or any(path.is_symlink() for path in folder.iterdir())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def is_recorded(target: Sharded, index: int) -> bool:
    """True if a run has finished the shard, with skipped items or without, and its archive has the size that it wrote."""
    try:
        record = json.loads(target.record(index).read_text(encoding="utf-8"))
        if target.staged(index).exists():
            return bool(target.staged(index).stat().st_size == record["size"])
        return sha256_file(target.ark(index)) == record["sha256"]  # placed by a run that was killed, or left by an earlier one
    except (OSError, *MALFORMED):
        return False


def _is_complete(target: Sharded, index: int) -> bool:
    try:
        record = json.loads(target.record(index).read_text(encoding="utf-8"))
        ark = target.staged(index) if target.staged(index).exists() else target.ark(index)
        return not record["skipped"] and ark.stat().st_size == record["size"] and sha256_file(ark) == record["sha256"]
    except (OSError, *MALFORMED):
        return False


def _write_shard(target: Sharded, process: Process, task: tuple[int, list[Any]]) -> int:
    index, items = task
    entries: list[tuple[str, int, list[int]]] = []
    skipped: dict[str, str] = {}
    with whole_binary(target.staged(index)) as stream:
        for key, array in process(items):
            if isinstance(array, Skip):
                skipped[key] = array.reason
                continue
            entries.append((key, stream.tell() + len(key.encode()) + 1, list(array.shape)))
            stream.write(encode_record(key, array))
    ark = target.staged(index)
    record = {"entries": entries, "skipped": skipped, "size": ark.stat().st_size, "sha256": sha256_file(ark)}
    write_text(target.record(index), json.dumps(record, ensure_ascii=False))
    return len(items)


def gather_shards(target: Sharded, chosen: Sequence[int]) -> Written:
    """What the records of the `chosen` shards say."""
    scp, shapes, skipped, files = {}, {}, {}, {}
    for index in chosen:
        record = json.loads(target.record(index).read_text(encoding="utf-8"))
        for key, offset, shape in record["entries"]:
            scp[key] = f"{os.path.abspath(target.ark(index))}:{offset}"  # noqa: PTH100 (links stay links)
            shapes[key] = shape
        skipped.update(record["skipped"])
        files[target.ark(index).name] = {"size": record["size"], "sha256": record["sha256"]}
    return Written(scp, shapes, skipped, [target.ark(index) for index in chosen], files)


def close_shards(target: Sharded, num_shards: int) -> None:
    """Drop the hidden records, and arks of an earlier run with more shards; call it after the manifest is written."""
    for stale in _numbered(target):
        if int(stale.name.split(".")[-2]) >= num_shards:
            stale.unlink()
    shutil.rmtree(target.partial, ignore_errors=True)


def _numbered(target: Sharded) -> Iterator[Path]:
    yield from target.directory.glob(f"{target.name}.[0-9][0-9][0-9][0-9].ark")
