"""Work over many items cut into parts that run anywhere, as jobs of a cluster for example, and the step that joins them.

The shards of a work are cut by the number of its items alone (`io.shards`); part 2 of 4 makes the second of every four
shards.  Which part made a shard leaves no trace, so that any division ends with the bytes of the undivided run, and a part
that failed is run again alone.  All parts and the join must be given the same work: the mark of the first one holds the
digest of options and input tables, and whoever comes with another is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sv_toolkit.errors import OutputError, TooManyBadError, plain
from sv_toolkit.io.shards import (
    Process,
    Sharded,
    Written,
    cut_shards,
    gather_shards,
    is_recorded,
    make_shards,
    place_shards,
    refuse_too_many,
    same_job_started,
    some_reasons,
)


@dataclass(frozen=True)
class Part:
    """Part `number`, counted from 1, of `count`."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"{self}: a part is 1/4 to 4/4")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def own(self, num_shards: int) -> range:
        """The shards that this part makes; none where there are fewer shards than parts."""
        return range(self.number - 1, num_shards, self.count)


@dataclass(frozen=True)
class Join:
    """The step after all `count` parts: it makes no shard, and the list, the tables and the manifest of them all."""

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"{self.count} parts cannot be joined")


Share = Part | Join | None  # of the work: None is all of it


def parse_part(text: str) -> Part:
    """The part that "2/4" means.

    Raises:
        ValueError: there is no such part.
    """
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and number.isascii() and count.isascii()):
        raise ValueError(f"{text!r} is no part such as 2/4")
    return Part(int(number), int(count))


def write_part(
    target: Sharded,
    part: Part,
    items: list[Any],
    item_id: Callable[[Any], str],
    process: Process,
    num_jobs: int,
    max_bad: int,
    on_progress: Callable[[int], None],
    start_method: str,
) -> Written:
    """Make the shards of one part; the work must be open (`shards.prepare_shards`).

    Raises:
        TooManyBadError: this part alone skips more items than all may.
    """
    shards = cut_shards(items)
    own = part.own(len(shards))
    make_shards(target, shards, own, item_id, process, num_jobs, on_progress, start_method)
    written = gather_shards(target, own)
    if len(written.skipped) > max_bad:
        raise TooManyBadError(
            f"{len(written.skipped)} utterances of part {part} cannot be used (--max-bad {max_bad}): {some_reasons(written.skipped)}"
        )
    return written


def joined_parts(target: Sharded, join: Join, items: list[Any], max_bad: int, withdraw: Callable[[], None]) -> Written:
    """What all parts wrote, in its place; `withdraw` as of `place_shards`.

    Raises:
        OutputError: parts are missing, or were made with other options or tables.
        TooManyBadError: together they skip more items than allowed.
    """
    refuse_other_parts(target, f"run --part 1/{join.count} to --part {join.count}/{join.count} first, with the same options")
    num_shards = len(cut_shards(items))
    missing = [index for index in range(num_shards) if not is_recorded(target, index)]
    refuse_missing(target.directory, f"archives of {target.name}", missing, num_shards, join)
    written = gather_shards(target, range(num_shards))
    refuse_too_many(written.skipped, len(items), max_bad)
    place_shards(target, num_shards, withdraw)
    return written


def refuse_missing(directory: Path, what: str, missing: list[int], num_shards: int, join: Join) -> None:
    """Stop where shards are missing.

    Raises:
        OutputError: names the parts that make them.
    """
    if missing:
        parts = sorted({index % join.count + 1 for index in missing})
        names = ", ".join(f"--part {number}/{join.count}" for number in parts[:4])
        more = " ..." if len(parts) > 4 else ""
        raise OutputError(f"{plain(directory)}: {len(missing)} of {num_shards} {what} are missing; run {names}{more} again")


def refuse_other_parts(target: Sharded, way_out: str) -> None:
    """Stop where what lies half done in the directory is not of this very work.

    Raises:
        OutputError: names the way out.
    """
    if not same_job_started(target):
        found = "were made with other options or tables" if target.partial.exists() else "are missing"
        raise OutputError(f"{plain(target.directory)}: the parts of {target.name} {found}; {way_out}")
