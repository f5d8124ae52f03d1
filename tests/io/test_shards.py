"""Sharded output: its bytes depend on the items alone, and a run that was killed is finished by the next."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv_toolkit.errors import DataError, OutputError, SvError, TooManyBadError
from sv_toolkit.io import shards
from sv_toolkit.io.archives import ScpReader
from sv_toolkit.io.files import locked
from sv_toolkit.io.manifest import Manifest, describe_file, digest_of, manifest_path, write_manifest
from sv_toolkit.io.shards import Sharded, Skip, close_shards, cut_shards, refuse_foreign, refuse_too_many, write_shards
from sv_toolkit.io.tables import write_table

ROOT = Path(shards.__file__).parents[2]
ITEMS = [f"spk{i // 10:02d}-u{i % 10}" for i in range(60)]


def matrix(key):
    rng = np.random.default_rng(int(hashlib.sha256(key.encode()).hexdigest()[:8], 16))
    return rng.normal(size=(int(rng.integers(5, 30)), 4)).astype(np.float32)


def make(items):
    for key in items:
        yield key, matrix(key)


def make_slowly(items):
    for key in items:
        time.sleep(0.01)
        yield key, matrix(key)


def make_without_three(items):
    for key in items:
        yield key, Skip("no speech") if key in ITEMS[3:6] else matrix(key)


def make_or_break(items):
    for key in items:
        if key == ITEMS[40]:
            raise DataError(f"{key}: broken")
        yield key, matrix(key)


def make_or_die(items):
    for key in items:
        if key == ITEMS[40]:
            os.kill(os.getpid(), signal.SIGKILL)
        yield key, matrix(key)


def never(items):
    raise AssertionError("nothing is left to do")


def target(directory, job=None):
    return Sharded(directory, "feats", job or {"what": "feats", "items": len(ITEMS)})


def write(directory, process=make, num_jobs=1, max_bad=0, job=None, items=ITEMS):
    """What a command does, alone in the directory: shards, scp, manifest, and away with the records."""
    goal = target(directory, job)
    with locked(directory):
        written = write_shards(goal, items, str, process, num_jobs, max_bad)
        write_table(directory / "feats.scp", written.scp)
        files = {path.name: describe_file(path) for path in (*written.arks, directory / "feats.scp")}
        write_manifest(directory, Manifest("feats", goal.job, {"utterances": len(written.scp)}, files))
        close_shards(goal, len(written.arks))
    return written


def contents(directory):
    return {path.name: path.read_bytes().replace(str(directory).encode(), b"HERE") for path in sorted(directory.iterdir())}


@pytest.fixture
def clean(tmp_path):
    directory = tmp_path / "clean"
    directory.mkdir()
    write(directory)
    return contents(directory)


@pytest.fixture
def out(tmp_path):
    directory = tmp_path / "out"
    directory.mkdir()
    return directory


@given(st.integers(0, 300_000))
def test_shards_are_a_partition_in_order_and_few(num_items):
    items = range(num_items)
    cut = cut_shards(items)
    assert all(len(a) and a.stop == b.start for a, b in zip(cut, cut[1:]))
    assert sum(map(len, cut)) == num_items
    assert len(cut) <= max(64, -(-num_items // 2000))


def test_everything_is_there_under_its_id(out):
    written = write(out)
    reader = ScpReader(out / "feats.scp")
    assert list(reader) == ITEMS == list(written.shapes)
    for key in ITEMS:
        assert np.array_equal(reader.read(key), matrix(key))
        assert written.shapes[key] == list(matrix(key).shape)
    assert not written.skipped


@pytest.mark.parametrize("num_jobs", [2, 3, 1000])
def test_the_bytes_do_not_depend_on_the_number_of_jobs(out, clean, num_jobs):
    write(out, num_jobs=num_jobs)
    assert contents(out) == clean


def test_skipped_items_are_listed_with_their_reasons(out):
    written = write(out, make_without_three, max_bad=3)
    assert written.skipped == dict.fromkeys(ITEMS[3:6], "no speech")
    assert sorted([*written.scp, *written.skipped]) == ITEMS


def test_too_many_skipped_items_stop_the_run_before_there_is_an_scp(out):
    with pytest.raises(TooManyBadError, match=r"^3 of 60 utterances cannot be used \(--max-bad 2 allows 2\): spk00-u3: no speech; "):
        write(out, make_without_three, max_bad=2)
    assert not (out / "feats.scp").exists()


def test_shards_with_skipped_items_are_done_again_and_the_others_are_not(out, clean):
    with pytest.raises(TooManyBadError):
        write(out, make_without_three)
    done = []

    def remember(items):
        done.extend(items)
        return make(items)

    write(out, remember)
    assert done == ITEMS[:8]
    assert contents(out) == clean


def test_an_error_leaves_what_is_finished_for_the_next_run(out, clean):
    with pytest.raises(DataError, match="spk04-u0: broken"):
        write(out, make_or_break, num_jobs=2)
    assert not (out / "feats.scp").exists()
    write(out)
    assert contents(out) == clean


def test_a_killed_worker_leaves_what_is_finished_for_the_next_run(out, clean):
    with pytest.raises(SvError, match="a worker process was killed .*spk04-u0"):
        write(out, make_or_die, num_jobs=2)
    assert not (out / "feats.scp").exists()
    write(out)
    assert contents(out) == clean


def test_shards_that_are_there_are_not_made_again(out, clean):
    write_shards(target(out), ITEMS, str, make, 1, 0)
    progress = []
    write_shards(target(out), ITEMS, str, never, 1, 0, progress.append)
    assert sum(progress) == len(ITEMS)
    write(out, never)
    assert contents(out) == clean


def test_another_job_starts_from_nothing(out, clean):
    write_shards(target(out, {"what": "other"}), ITEMS, str, lambda items: ((key, matrix(key) + 1) for key in items), 1, 0)
    write(out)
    assert contents(out) == clean


@pytest.mark.parametrize("place", ["record", "folder", "dangling folder", "file"])
def test_links_in_the_place_of_an_unfinished_run_are_thrown_away_and_never_written_through(tmp_path, place):
    goal, precious = Sharded(tmp_path / "out", "feats", {"seed": 1}), tmp_path / "precious" / "0000.json"
    precious.parent.mkdir()
    precious.write_text("mine")
    goal.directory.mkdir()
    if place == "record":
        goal.partial.mkdir()
        (goal.partial / "job").write_text(digest_of(goal.job))
        goal.record(0).symlink_to(precious)
    elif place == "file":
        goal.partial.write_text("")
    else:
        goal.partial.symlink_to(precious.parent if place == "folder" else tmp_path / "nowhere")
    written = write_shards(goal, ITEMS, str, make, 1, 0)
    assert len(written.scp) == len(ITEMS)
    assert precious.read_text() == "mine"
    assert sorted(path.name for path in precious.parent.iterdir()) == ["0000.json"]
    assert not goal.partial.is_symlink()


@pytest.mark.parametrize("damage", ["cut", "change", "delete ark", "delete record", "cut record"])
def test_a_shard_that_was_damaged_is_made_again(out, clean, damage):
    goal = target(out)
    write_shards(goal, ITEMS, str, make, 1, 0)
    ark, record = goal.ark(2), goal.record(2)
    if damage == "cut":
        os.truncate(ark, 100)
    elif damage == "change":
        ark.write_bytes(ark.read_bytes()[:-1] + b"x")
    elif damage == "cut record":
        os.truncate(record, 20)
    else:
        (ark if damage == "delete ark" else record).unlink()
    write(out)
    assert contents(out) == clean


def test_archives_of_an_earlier_longer_run_go_away(out):
    write(out)
    write(out, items=ITEMS[:9], job={"what": "fewer"})
    assert sorted(path.name for path in out.iterdir()) == ["feats.0000.ark", "feats.0001.ark", "feats.manifest.json", "feats.scp"]


@pytest.mark.parametrize("num_jobs", [1, 2])
def test_a_run_that_is_killed_twice_ends_in_the_same_bytes(out, clean, num_jobs):
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
import test_shards
test_shards.write(Path({str(out)!r}), test_shards.make_slowly, {num_jobs})
"""
    chance = random.Random(num_jobs)
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
        end = time.monotonic() + 20
        while not (out / ".feats.partial").exists() and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.25))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert not manifest_path(out, "feats").exists()
        assert not (out / "feats.scp").exists()
    write(out)
    assert contents(out) == clean


def test_an_scp_of_another_program_is_not_touched(out):
    (out / "feats.scp").write_text("u /elsewhere/feats.ark:2\n")
    with pytest.raises(OutputError, match=r"feats\.scp: exists and is not of this run; give --overwrite"):
        refuse_foreign(target(out), "feats", overwrite=False)
    refuse_foreign(target(out), "feats", overwrite=True)


def test_the_output_of_another_job_is_not_touched(out):
    write(out, job={"what": "other"})
    with pytest.raises(OutputError, match="give --overwrite"):
        refuse_foreign(target(out), "feats", overwrite=False)
    refuse_foreign(target(out, {"what": "other"}), "feats", overwrite=False)
    refuse_foreign(target(out), "feats", overwrite=True)
    assert manifest_path(out, "feats").exists(), "what is replaced goes when the new is there"


@pytest.mark.parametrize("process", ["make_or_break", "make_without_three", "make_or_die"])
def test_a_run_that_fails_leaves_what_another_run_had_written(out, process):
    write(out, items=ITEMS[:9], job={"what": "fewer"})
    before = contents(out)
    with pytest.raises(SvError):
        write(out, globals()[process], num_jobs=2)
    assert {name: bytes_ for name, bytes_ in contents_of_files(out).items() if name != ".lock"} == before
    assert np.array_equal(ScpReader(out / "feats.scp").read(ITEMS[0]), matrix(ITEMS[0]))


def contents_of_files(directory):
    return {path.name: path.read_bytes().replace(str(directory).encode(), b"HERE") for path in directory.iterdir() if path.is_file()}


def test_nothing_left_is_always_too_little():
    with pytest.raises(TooManyBadError, match="2 of 2 utterances cannot be used .*nothing is left"):
        refuse_too_many({"a": "x", "b": "x"}, 2, 100)
    refuse_too_many({"a": "x"}, 2, 1)
    with pytest.raises(TooManyBadError, match=r"; and 2 more$"):
        refuse_too_many(dict.fromkeys("abcde", "x"), 9, 1)
