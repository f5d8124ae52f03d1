"""Worker processes give all results, and end when they should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sv_toolkit.errors import DataError, SvError
from sv_toolkit.io import workers
from sv_toolkit.io.workers import available_cpus, run_tasks

ROOT = Path(workers.__file__).parents[2]


def square(number):
    return number * number


def process_id(_):
    time.sleep(0.02)
    return os.getpid()


def refuse_three(number):
    if number == 3:
        raise DataError("utt3: is wrong")
    time.sleep(0.05)
    return number


def die_at_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return number


def sleep_long(_):
    time.sleep(600)


def out_of_memory(_):
    raise MemoryError


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
@pytest.mark.parametrize("num_jobs", [1, 2, 50])
def test_all_results_come_whatever_the_number_of_jobs(num_jobs, start_method):
    tasks = list(range(8))
    assert sorted(run_tasks(square, tasks, num_jobs, str, start_method)) == [square(task) for task in tasks]


def test_no_tasks_give_no_results():
    assert list(run_tasks(square, [], 4, str)) == []


def test_one_job_works_in_this_process_and_more_do_not():
    assert set(run_tasks(process_id, [1, 2, 3], 1, str)) == {os.getpid()}
    assert set(run_tasks(process_id, [1], 5, str)) == {os.getpid()}
    several = set(run_tasks(process_id, list(range(8)), 2, str))
    assert os.getpid() not in several
    assert 1 <= len(several) <= 2


def test_results_come_as_they_are_ready():
    start = time.monotonic()
    results = run_tasks(time.sleep, [0.0, 30.0], 2, str)
    next(results)
    assert time.monotonic() - start < 10
    results.close()
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("num_jobs", [1, 2])
@pytest.mark.parametrize(("function", "kind"), [(refuse_three, DataError), (out_of_memory, MemoryError)])
def test_errors_come_through_unchanged(num_jobs, function, kind):
    with pytest.raises(kind) as caught:
        list(run_tasks(function, list(range(20)), num_jobs, str))
    assert kind is MemoryError or str(caught.value) == "utt3: is wrong"


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_killed_worker_is_an_error_that_names_what_was_held(start_method):
    start = time.monotonic()
    with pytest.raises(SvError, match=r"a worker process was killed .* held .*utt3.*smaller --nj"):
        list(run_tasks(die_at_three, list(range(40)), 2, lambda task: f"utt{task}", start_method))
    assert time.monotonic() - start < 60  # and not until the others have finished


def test_a_worker_that_is_killed_while_idle_is_an_error_too():
    results = run_tasks(process_id, list(range(50)), 2, lambda task: f"utt{task}")
    os.kill(next(results), signal.SIGKILL)
    time.sleep(0.5)  # the pool has noticed before the next task is handed out
    with pytest.raises(SvError, match="a worker process was killed"):
        list(results)


def children(pid):
    """Living processes whose parent is `pid`."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(status.parent.name))
    return found


def wait_until(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_worker_outlives_its_parent(sent, tmp_path):
    code = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has its commands ignore it
sys.path.insert(0, {str(Path(__file__).parent)!r})
from sv_toolkit.io.workers import run_tasks
from test_workers import sleep_long
list(run_tasks(sleep_long, [1, 2, 3], 2, str))
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(children(parent.pid)) >= 2)
    time.sleep(0.3)  # past the start of the workers
    held = children(parent.pid)
    parent.send_signal(sent)
    assert parent.wait(90) != 0
    wait_until(lambda: not any(Path(f"/proc/{pid}/task").exists() and not is_dead(pid) for pid in held))


def is_dead(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_there_is_at_least_one_processor():
    assert 1 <= available_cpus() <= os.cpu_count()
