"""One door for finished work: a directory with one writer, work that is done once, and a manifest that comes last.

    with Work(out, "dvector", job, table="dvector") as work:
        if work.is_done():
            return ...                      # said in one wording
        work.begin()                        # refuses what is another run's
        written = work.shards(items, str, process, num_jobs, max_bad)
        if work.is_part:
            return ...                      # the join writes the rest
        work.table("utt2spk", {...})        # what the manifest shall list
        work.finish({"utterances": len(written.scp)})   # the list of the archives, the manifest, and away with leftovers

A work with a `share` is one part of several that run at the same time, on any number of machines that see the
directory, or the join after them (`io.parts`).  The first part to come opens the work while it is alone; then they share
the lock.  The join is alone again.  A work without shards (`table=""`) has lock, manifest and tables only.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from sv_toolkit.errors import OutputError, plain
from sv_toolkit.io.files import Lock, locked, write_text
from sv_toolkit.io.manifest import Manifest, describe_file, is_finished, manifest_path, write_manifest
from sv_toolkit.io.parts import Join, Part, Share, joined_parts, refuse_other_parts, write_part
from sv_toolkit.io.shards import Process, Sharded, Written, close_shards, prepare_shards, refuse_foreign, same_job_started, write_shards
from sv_toolkit.io.tables import write_table

logger = logging.getLogger("sv_toolkit")
SECONDS_TO_OPEN = 60.0  # that a part waits for another one to open the work, or for a writer of something else to end


class Work:
    """What one command makes in one directory.

    Args:
        out: the directory; made if need be.
        name: of the manifest.
        job: what is asked for, JSON-ready: options, and digests of what decides about the result.
        table: of the archives and their list ("feats" for feats.scp); "" for work without archives.
        share: a part of the work, the join, or None for all of it.
        overwrite: replace what another run left.
        rivals: names of other manifests that go when this work begins.
        is_open: whether parts may write together already; None: once a first part has opened the archives.
    """

    def __init__(
        self,
        out: Path,
        name: str,
        job: dict[str, Any],
        table: str = "",
        share: Share = None,
        overwrite: bool = False,
        rivals: Iterable[str] = (),
        is_open: Callable[[], bool] | None = None,
    ) -> None:
        self.out, self.name, self.job, self.share, self.overwrite, self.rivals = out, name, job, share, overwrite, tuple(rivals)
        self.target = Sharded(out, table, job)
        self._is_open = is_open or (lambda: same_job_started(self.target))
        self._written: Written | None = None
        self._files: dict[str, dict[str, Any]] = {}
        self._lock: Lock | None = None
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Work:
        """Take the lock.

        Raises:
            OutputError: somebody else writes here.
        """
        if self.is_part:
            lock = locked(self.out, SECONDS_TO_OPEN, may_share=self._is_open)
        else:
            lock = locked(self.out)
        self._lock = self._exit.enter_context(lock)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._exit.__exit__(kind, error, trace)

    @property
    def is_part(self) -> bool:
        """True for one part of several: tables and manifest are the join's."""
        return isinstance(self.share, Part)

    @property
    def is_shared(self) -> bool:
        """True while other parts may write as well: what lies in the directory is theirs, too."""
        return self._lock is not None and self._lock.is_shared

    @property
    def is_first(self) -> bool:
        """True for the run that opens the work: all of it, or the part that comes first."""
        return not self.is_shared and not isinstance(self.share, Join)

    def is_done(self) -> bool:
        """True if this very work is done and unchanged, which is said; always False with `overwrite`.

        Raises:
            DataError: the manifest is damaged.
        """
        if self.overwrite or not is_finished(self.out, self.name, self.job):
            return False
        if self.target.name and not self.is_shared:  # a run may have been cut short between the manifest and its last step
            shutil.rmtree(self.target.partial, ignore_errors=True)
        what = self.out / f"{self.target.name}.scp" if self.target.name else self.out
        logger.info("%s: already done, with the same options and inputs; nothing to do", plain(what))
        return True

    def begin(self) -> None:
        """Refuse what another run made here; where other parts are at work they did that.

        What has archives takes the place of the old once all are made (`shards`); for other work the old manifests go now.

        Raises:
            OutputError: something of another run lies here and `overwrite` is not given.
        """
        if not self.is_first:
            return
        if self.is_part and self.target.partial.exists() and not self.overwrite:
            refuse_other_parts(self.target, "--overwrite begins anew, or give another output directory")
        refuse_foreign(self.target, self.name, self.overwrite)
        if not self.target.name:
            self._withdraw()

    def _withdraw(self) -> None:
        for name in (self.name, *self.rivals):
            manifest_path(self.out, name).unlink(missing_ok=True)

    def shards(
        self,
        items: list[Any],
        item_id: Callable[[Any], str],
        process: Process,
        num_jobs: int = 1,
        max_bad: int = 0,
        on_progress: Callable[[int], None] = lambda _: None,
        start_method: str = "fork",
    ) -> Written:
        """Make the archives, those of the part, or of the join none; arguments as of `write_shards`.

        Returns:
            What was written: of a part, by this part alone.

        Raises:
            TooManyBadError: more items than `max_bad` have no array.
            OutputError: the join finds parts missing or of other work.
        """
        if isinstance(self.share, Join):
            written = joined_parts(self.target, self.share, items, max_bad, self._withdraw)
            on_progress(len(items))
        elif isinstance(self.share, Part):
            if not self.is_shared:
                prepare_shards(self.target)
            self.let_others_in()
            written = write_part(self.target, self.share, items, item_id, process, num_jobs, max_bad, on_progress, start_method)
            done = f"part {self.share} is done: {len(written.scp)} of {len(items)} utterances"
            logger.info("%s: %s; --join %d follows when all are", plain(self.out), done, self.share.count)
        else:
            written = write_shards(self.target, items, item_id, process, num_jobs, max_bad, on_progress, start_method, self._withdraw)
        self._written = written
        return written

    def let_others_in(self) -> None:
        """Share the lock with the other parts: from here on this run writes what no other part does.

        Raises:
            OutputError: a run of something else came in between.
        """
        assert self._lock is not None
        if not self._lock.is_shared:
            self._lock.share()
            if not self._is_open():
                raise OutputError(f"{plain(self.out)}: another run began here at the same moment; run this part again")

    def table(self, name: str, entries: Mapping[str, str]) -> None:
        """Write a table that the manifest lists."""
        write_table(self.out / name, entries)
        self.add(name)

    def text(self, name: str, text: str) -> None:
        """Write a text file that the manifest lists."""
        write_text(self.out / name, text)
        self.add(name)

    def add(self, name: str) -> None:
        """A file that lies here already belongs to the work."""
        self._files[name] = describe_file(self.out / name)

    def finish(self, counts: Mapping[str, int]) -> None:
        """Write the list of the archives, then the manifest, and remove what is left of the way there."""
        if self._written is not None:
            self.table(f"{self.target.name}.scp", self._written.scp)
            self._files.update(self._written.files)
        write_manifest(self.out, Manifest(self.name, self.job, dict(counts), self._files))
        if self._written is not None:
            close_shards(self.target, len(self._written.arks))
