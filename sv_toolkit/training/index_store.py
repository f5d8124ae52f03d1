"""The training index in a directory of its own: one `.npy` file per array, memory-mapped, and a manifest that is written last."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import MALFORMED, DataError, OutputError, plain
from sv_toolkit.io.files import locked, make_directory, whole_binary, write_text
from sv_toolkit.io.manifest import Manifest, describe_file, digest_of, is_finished, manifest_path, write_manifest
from sv_toolkit.io.parts import Join, Part, refuse_missing
from sv_toolkit.io.workers import run_tasks
from sv_toolkit.training.index import PER_BAND, SCALARS, TrainingIndex, describe_index, index_part, joined, refuse_too_many

logger = logging.getLogger("sv_toolkit")
NAME = "index"
ARRAYS = (*SCALARS, *PER_BAND, "rows")
BAD = "bad.json"
PART = 2000  # utterances that a worker takes at a time
WAIT = 24 * 3600.0  # seconds to wait while another training computes the same index

Progress = Callable[[int], AbstractContextManager[Callable[[int], object]]]


@contextmanager
def no_progress(total: int) -> Iterator[Callable[[int], object]]:
    """Show nothing."""
    yield lambda done: None


def index_folder(data: Path, use_vad: bool) -> Path:
    """Where the index of a data directory lies."""
    return data / ("training_index" if use_vad else "training_index_all")


def ensure_index(
    index: FeatureIndex, use_vad: bool, max_bad: int, progress: Progress, elsewhere: Path | None = None, num_jobs: int = 1
) -> tuple[Path, bool]:
    """Compute the index of a data directory where it is missing or out of date; its folder, and whether it was there.

    Args:
        elsewhere: folder to write to where the data directory cannot be written to.
        num_jobs: processes that read features.

    Raises:
        TooManyBadError: more than `max_bad` utterances cannot be read.
    """
    job = describe_index(index.path, use_vad)
    folders = [index_folder(index.path, use_vad), *([elsewhere] if elsewhere is not None else [])]
    done = next((folder for folder in folders if is_finished(folder, NAME, job)), None)
    if done is not None:
        return done, True
    folder = folders[0] if elsewhere is None or os.access(index.path, os.W_OK) else elsewhere
    with locked(folder, WAIT):
        if is_finished(folder, NAME, job):
            return folder, True
        with progress(index.num_utterances) as advance:
            found = compute_index(index, use_vad, num_jobs, advance)
        refuse_too_many(index, found.bad, max_bad)
        save_index(folder, found, job)
    return folder, False


def write_index_part(index: FeatureIndex, use_vad: bool, part: Part, num_jobs: int, advance: Callable[[int], object]) -> int:
    """Compute one part of an index, for `join_index`; the number of its utterances.

    Part 2 of 4 takes every fourth stretch of `PART` utterances from the second on.  Stretches that are there already, of a part that
    was cut short, are not computed again.
    """
    folder, tasks = _parts_folder(index, use_vad), _tasks(index)
    own = [task for task in (tasks[number] for number in part.own(len(tasks))) if not _stretch(folder, task).exists()]
    make_directory(folder)
    for first, found in run_tasks(_IndexPart(index, use_vad), own, num_jobs, _describe):
        arrays = {name: getattr(found, name) for name in ARRAYS}
        bad = np.frombuffer(json.dumps({str(place): reason for place, reason in found.bad.items()}).encode(), np.uint8)
        with whole_binary(_stretch(folder, range(first, first + len(found)))) as stream:
            np.savez(stream, allow_pickle=False, bad=bad, **arrays)
        advance(len(found))
    return sum(len(tasks[number]) for number in part.own(len(tasks)))


def join_index(index: FeatureIndex, use_vad: bool, join: Join, max_bad: int) -> Path:
    """Put the parts together: the bytes of the undivided index; its folder.

    Raises:
        OutputError: a part is missing; names which.
        TooManyBadError: more than `max_bad` utterances cannot be read.
    """
    parts, tasks, folder = _parts_folder(index, use_vad), _tasks(index), index_folder(index.path, use_vad)
    job = describe_index(index.path, use_vad)
    if is_finished(folder, NAME, job):
        return folder
    missing = [number for number, task in enumerate(tasks) if not _stretch(parts, task).exists()]
    refuse_missing(folder, f"stretches of {PART} utterances", missing, len(tasks), join)
    with locked(folder, WAIT):
        found = joined([_load_stretch(_stretch(parts, task)) for task in tasks])
        refuse_too_many(index, found.bad, max_bad)
        save_index(folder, found, job)
    shutil.rmtree(parts)
    return folder


def _parts_folder(index: FeatureIndex, use_vad: bool) -> Path:
    """Named by what the index depends on, so that parts of other features are never joined."""
    digest = digest_of(describe_index(index.path, use_vad))[:16]
    return index_folder(index.path, use_vad).with_suffix(f".parts-{digest}")


def _tasks(index: FeatureIndex) -> list[range]:
    return [range(first, min(first + PART, index.num_utterances)) for first in range(0, index.num_utterances, PART)]


def _describe(task: range) -> str:
    return f"utterances {task.start} to {task.stop - 1}"


def _stretch(folder: Path, task: range) -> Path:
    return folder / f"{task.start:09d}-{task.stop:09d}.npz"


def _load_stretch(path: Path) -> TrainingIndex:
    try:
        with np.load(path, allow_pickle=False) as stored:
            bad = {int(place): str(reason) for place, reason in json.loads(stored["bad"].tobytes()).items()}
            return TrainingIndex(**{name: stored[name] for name in ARRAYS}, bad=bad)
    except (OSError, BadZipFile, *MALFORMED) as error:
        raise OutputError(f"{plain(path)}: is damaged ({plain(error)}); delete it and run its part again") from None


def compute_index(index: FeatureIndex, use_vad: bool, num_jobs: int, advance: Callable[[int], object]) -> TrainingIndex:
    """The index of all utterances; the same from any number of processes."""
    if num_jobs == 1:
        return index_part(index, range(index.num_utterances), use_vad, advance)
    tasks = _tasks(index)
    parts: dict[int, TrainingIndex] = {}
    for first, part in run_tasks(_IndexPart(index, use_vad), tasks, num_jobs, _describe):
        parts[first] = part
        advance(len(part))
    return joined([parts[task.start] for task in tasks])


class _IndexPart:
    """What a worker does; can be sent to other processes."""

    def __init__(self, index: FeatureIndex, use_vad: bool) -> None:
        self.index, self.use_vad = index, use_vad

    def __call__(self, utterances: range) -> tuple[int, TrainingIndex]:
        return utterances.start, index_part(self.index, utterances, self.use_vad)


def save_index(folder: Path, found: TrainingIndex, job: dict[str, Any]) -> None:
    """Write the arrays, and the manifest last."""
    manifest_path(folder, NAME).unlink(missing_ok=True)
    for name in ARRAYS:
        with whole_binary(folder / f"{name}.npy") as stream:
            np.save(stream, getattr(found, name), allow_pickle=False)
    write_text(folder / BAD, json.dumps({str(place): reason for place, reason in sorted(found.bad.items())}, indent=0) + "\n")
    files = [*(f"{name}.npy" for name in ARRAYS), BAD]
    counts = {"utterances": len(found), "bad": len(found.bad), "frames": int(found.num_frames.sum(dtype=np.int64))}
    write_manifest(folder, Manifest(NAME, job, counts, {name: describe_file(folder / name) for name in files}))


def load_index(folder: Path, num_utterances: int, dim: int) -> TrainingIndex:
    """The index in `folder`, its arrays memory-mapped.

    Raises:
        OutputError: a file is damaged or does not belong to these utterances.
    """
    try:
        arrays = {name: _mapped(folder, name, dtype, (num_utterances,)) for name, dtype in SCALARS.items()}
        arrays |= {name: _mapped(folder, name, dtype, (num_utterances, dim)) for name, dtype in PER_BAND.items()}
        arrays["rows"] = _mapped(folder, "rows", "<i4", None)
        bad = {int(place): str(reason) for place, reason in json.loads((folder / BAD).read_text(encoding="utf-8")).items()}
    except (OSError, DataError, *MALFORMED) as error:
        raise OutputError(f"{plain(folder)}: the index is damaged ({plain(error)}); delete this folder and run the command again") from None
    return TrainingIndex(**arrays, bad=bad)


def _mapped(folder: Path, name: str, dtype: str, shape: tuple[int, ...] | None) -> np.ndarray:
    path = folder / f"{name}.npy"
    array = np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None, allow_pickle=False)
    if array.dtype != np.dtype(dtype) or (array.shape != shape if shape else array.ndim != 1):
        raise DataError(f"{name}.npy holds {array.dtype} {array.shape}")
    return array
