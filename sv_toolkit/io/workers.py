"""Work spread over processes that end when they should: on an error, on Ctrl-C, or with their parent."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from sv_toolkit.errors import SvError

Result = TypeVar("Result")
PR_SET_PDEATHSIG = 1


def run_tasks(
    function: Callable[[Any], Result], tasks: Sequence[Any], num_jobs: int, describe: Callable[[Any], str], start_method: str = "fork"
) -> Iterator[Result]:
    """Results of `function(task)` as they come in, from `num_jobs` processes (in this one where 1 is enough).

    Args:
        describe: what a task holds, for the message when its worker is killed.
        start_method: "fork", or "spawn" where the parent may have used torch threads (a fork could dead-lock).

    Raises:
        SvError: a worker was killed; other errors of `function` come through unchanged.
    """
    num_jobs = min(num_jobs, len(tasks))
    if num_jobs <= 1:
        yield from map(function, tasks)
        return
    pool = ProcessPoolExecutor(num_jobs, multiprocessing.get_context(start_method), _follow_parent, (os.getpid(),))
    try:
        yield from _collect(pool, function, tasks, num_jobs, describe)
    except BaseException:
        _kill(pool)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _collect(
    pool: ProcessPoolExecutor, function: Callable[[Any], Result], tasks: Sequence[Any], num_jobs: int, describe: Callable[[Any], str]
) -> Iterator[Result]:
    waiting = list(reversed(tasks))
    running: dict[Future[Result], Any] = {}
    try:
        while waiting or running:
            while waiting and len(running) < num_jobs:  # no queue ahead: what a dead worker held is then known exactly
                with _ctrl_c_later():
                    running[pool.submit(function, waiting[-1])] = waiting[-1]
                waiting.pop()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result = future.result()
                del running[future]
                yield result
    except BrokenProcessPool:  # from a result, or from submitting the next task
        held = "; ".join(describe(task) for task in running.values()) or "none of the work"
        raise SvError(
            f"a worker process was killed (out of memory?) while the workers held {held}; run again, with a smaller --nj if memory is short"
        ) from None


@contextlib.contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Processes that start in the block never see Ctrl-C, also not before `_follow_parent`; this one sees it after the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill(pool: ProcessPoolExecutor) -> None:
    for process in list((pool._processes or {}).values()):
        process.kill()


def _follow_parent(parent: int) -> None:
    """Die with the parent; leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with contextlib.suppress(OSError, AttributeError):  # Linux only; elsewhere an orphan ends with its task
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def available_cpus() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
