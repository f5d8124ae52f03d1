"""Work in parts: any division ends with the bytes of the undivided run, and nothing is joined that does not belong together."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sv_toolkit.errors import OutputError, TooManyBadError
from sv_toolkit.io.files import locked
from sv_toolkit.io.manifest import is_finished
from sv_toolkit.io.parts import Join, Part, parse_part
from sv_toolkit.io.shards import Skip
from sv_toolkit.io.work import Work

ITEMS = [f"u{number:03d}" for number in range(60)]  # eight shards
JOB = {"what": "numbers"}


def make(items):
    for item in items:
        yield item, np.full((2, 3), int(item[1:]), np.float32)


def make_all_but_one(items):
    for item, array in make(items):
        yield item, Skip("cannot be read") if item == "u001" else array


def do(out, share=None, process=make, job=JOB, max_bad=0, overwrite=False):
    with Work(out, "numbers", job, "numbers", share, overwrite) as work:
        if work.is_done():
            return None
        work.begin()
        written = work.shards(ITEMS, str, process, max_bad=max_bad)
        if not work.is_part:
            work.table("lengths", {key: str(shape[0]) for key, shape in written.shapes.items()})
            work.finish({"items": len(written.scp)})
        return written


def content(folder):
    return {path.name: path.read_bytes().replace(str(folder).encode(), b"@") for path in folder.iterdir()}


@pytest.mark.parametrize("count", [1, 2, 3, 8, 11])
def test_any_division_ends_with_the_bytes_of_the_undivided_run(tmp_path, count):
    do(tmp_path / "whole")
    for number in reversed(range(1, count + 1)):
        do(tmp_path / "parts", Part(number, count))
        assert not (tmp_path / "parts" / "numbers.scp").exists()
    do(tmp_path / "parts", Join(count))
    assert content(tmp_path / "parts") == content(tmp_path / "whole")
    assert is_finished(tmp_path / "parts", "numbers", JOB)


def test_parts_make_each_shard_once(tmp_path):
    made = []

    def noted(items):
        made.extend(items)
        return make(items)

    for number in (1, 2, 3):
        do(tmp_path, Part(number, 3), noted)
    assert sorted(made) == ITEMS


def test_the_join_names_the_parts_that_are_missing_and_goes_on_when_they_are_there(tmp_path):
    do(tmp_path / "whole")
    out = tmp_path / "out"
    do(out, Part(1, 4))
    do(out, Part(3, 4))
    with pytest.raises(OutputError, match="4 of 8 archives of numbers are missing; run --part 2/4, --part 4/4 again"):
        do(out, Join(4))
    do(out, Part(2, 4))
    (out / ".numbers.partial" / "numbers.0002.ark").write_bytes(b"cut short")
    with pytest.raises(OutputError, match="3 of 8 .*run --part 3/4, --part 4/4 again"):
        do(out, Join(4))
    do(out, Part(4, 4))
    do(out, Part(3, 4))
    do(out, Join(4))
    assert content(out) == content(tmp_path / "whole")


def test_a_join_without_parts_or_of_other_work_is_refused(tmp_path):
    with pytest.raises(OutputError, match="parts of numbers are missing; run --part 1/2 to --part 2/2 first"):
        do(tmp_path, Join(2))
    do(tmp_path, Part(1, 2))
    do(tmp_path, Part(2, 2))
    with pytest.raises(OutputError, match="were made with other options or tables"):
        do(tmp_path, Join(2), job={"what": "others"})


def test_a_part_of_other_work_does_not_replace_what_parts_made_unless_told(tmp_path):
    do(tmp_path, Part(1, 2))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="other options or tables; --overwrite begins anew"):
        do(tmp_path, Part(2, 2), job={"what": "others"})
    assert sorted(tmp_path.rglob("*")) == before
    for number in (2, 1):
        do(tmp_path, Part(number, 2), job={"what": "others"}, overwrite=True)
    do(tmp_path, Join(2), job={"what": "others"})


def test_finished_work_is_done_for_parts_and_join_too(tmp_path):
    do(tmp_path)
    before = content(tmp_path)
    assert [do(tmp_path, share) for share in (Part(1, 2), Part(2, 2), Join(2))] == [None, None, None]
    assert content(tmp_path) == before


def test_the_undivided_run_uses_what_parts_left(tmp_path):
    do(tmp_path / "whole")
    do(tmp_path / "out", Part(1, 2))
    made = []

    def noted(items):
        made.extend(items)
        return make(items)

    do(tmp_path / "out", process=noted)
    assert 0 < len(made) < len(ITEMS)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_skipped_items_are_counted_over_all_parts(tmp_path):
    with pytest.raises(TooManyBadError, match=r"1 utterances of part 1/2 .*u001: cannot be read"):
        do(tmp_path, Part(1, 2), make_all_but_one)
    do(tmp_path, Part(1, 2), make_all_but_one, max_bad=1)
    do(tmp_path, Part(2, 2), make_all_but_one, max_bad=1)
    with pytest.raises(TooManyBadError, match="1 of 60 .*--max-bad 0"):
        do(tmp_path, Join(2), make_all_but_one)
    assert do(tmp_path, Join(2), make_all_but_one, max_bad=1).skipped == {"u001": "cannot be read"}


def make_at_once(items):
    """Slow enough that the parts meet."""
    time.sleep(0.1)
    return make(items)


def test_parts_run_at_the_same_time_and_shut_other_writers_out(tmp_path):
    do(tmp_path / "whole")
    out = tmp_path / "out"
    context = multiprocessing.get_context("fork")
    parts = [context.Process(target=do, args=(out, Part(number, 4), make_at_once)) for number in (1, 2, 3, 4)]
    for part in parts:
        part.start()
    while not (out / ".numbers.partial" / "job").exists():
        time.sleep(0.01)
    with pytest.raises(OutputError, match="in use by process"), locked(out):
        pass
    for part in parts:
        part.join(60)
    assert [part.exitcode for part in parts] == [0] * 4
    assert not (out / ".lock").exists()
    do(out, Join(4))
    assert content(out) == content(tmp_path / "whole")


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
import test_parts
def make_slowly(items):
    for item in items:
        time.sleep(0.02)
        yield from test_parts.make([item])
test_parts.do(Path({out!r}), test_parts.Part(2, 3), make_slowly)
"""


def test_a_killed_part_is_run_again_alone(tmp_path):
    do(tmp_path / "whole")
    out = tmp_path / "out"
    do(out, Part(1, 3))
    code = KILLED.format(tests=str(Path(__file__).parent), out=str(out))
    with subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2]) as victim:
        while not list(out.glob(".numbers.partial/.numbers.0001.ark.*.tmp")):
            assert victim.poll() is None
            time.sleep(0.005)
        victim.kill()
    do(out, Part(3, 3))
    do(out, Part(2, 3))
    do(out, Join(3))
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "1/0", "-1/4", "a/b", "1/4/2", "٣/٤", ""])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(ValueError, match="part"):
        parse_part(text)


def test_a_damaged_record_is_a_missing_shard(tmp_path):
    do(tmp_path, Part(1, 1))
    (tmp_path / ".numbers.partial" / "0003.json").write_text(json.dumps({"entries": []}))
    with pytest.raises(OutputError, match="1 of 8 archives"):
        do(tmp_path, Join(1))
