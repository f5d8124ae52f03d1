"""Batches of network input, made ahead of the step that needs them; one from every source of data per step."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sv_toolkit.training.augment import Augment
from sv_toolkit.training.config import BatchConfig
from sv_toolkit.training.examples import Examples
from sv_toolkit.training.sampling import draw_batch


@dataclass(frozen=True)
class Source:
    """Training material of one data directory and its part in the loss (Wan et al. 2018, Eq. 12).

    Attributes:
        weight: alpha, what its loss counts.
        classes: `(num_speakers,)` index of each of its speakers among those of all sources.
    """

    name: str
    weight: float
    examples: Examples
    batch: BatchConfig
    classes: np.ndarray


@dataclass(frozen=True)
class Batch:
    """Network input from one source for one step.

    Attributes:
        features: `(num_rows, num_frames, dim)` float32, zero-padded at the end; this process's part of the batch.
        lengths: `(num_rows,)` frames that count, or None where all are equal.
        speakers: `(num_speakers, num_utterances)` class of every utterance of the whole batch.
        rows: which of the utterances, counted speaker by speaker, `features` holds.
        utterances: ids of the whole batch in that order, for messages.
    """

    source: Source
    features: np.ndarray
    lengths: np.ndarray | None
    speakers: np.ndarray
    rows: range
    utterances: list[str]


@dataclass(frozen=True)
class Step:
    """One batch from every source, and how long the step waited for them."""

    batches: list[Batch]
    seconds_waited: float = 0.0


def share(total: int, rank: int, num_processes: int) -> range:
    """The rows of a batch that process `rank` works on; contiguous, as equal as can be."""
    return range(total * rank // num_processes, total * (rank + 1) // num_processes)


def make_batch(source: Source, augment: Augment, seed: list[int], step: int, rank: int = 0, num_processes: int = 1) -> Batch:
    """The batch of `step`; the same for the same seed and step, whatever came before and however many processes share it."""
    draw = draw_batch(source.examples, source.batch, seed, step)
    ids = [utterance for row in draw.utterances for utterance in row]
    crops = [crop for row in draw.crops for crop in row]
    rows = share(len(ids), rank, num_processes)
    pieces = [augment(source.examples, ids[row], crops[row], np.random.default_rng([*seed, step, row])) for row in rows]
    features, lengths = padded(pieces)
    return Batch(source, features, lengths, source.classes[draw.speakers], rows, ids)


def padded(pieces: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """`(num_rows, num_frames, dim)` of matrices, zeros at the end, and their lengths where these differ."""
    lengths = np.array([len(piece) for piece in pieces])
    if lengths.min() == lengths.max():
        return np.stack(pieces), None
    features = np.zeros((len(pieces), lengths.max(), pieces[0].shape[1]), dtype=np.float32)
    for row, piece in enumerate(pieces):
        features[row, : len(piece)] = piece
    return features, lengths


def prefetch(
    sources: list[Source], augment: Augment, seed: int, steps: range, rank: int = 0, num_processes: int = 1, ahead: int = 4
) -> Iterator[Step]:
    """The steps in order, up to `ahead` of them made in a thread while the network works."""
    ready: queue.Queue[list[Batch] | BaseException] = queue.Queue(ahead)
    stop = threading.Event()

    def fill() -> None:
        try:
            for step in steps:
                batches = [make_batch(source, augment, [seed, place], step, rank, num_processes) for place, source in enumerate(sources)]
                if not _put(ready, batches, stop):
                    return
        except BaseException as error:  # the step that asks for this batch raises it
            _put(ready, error, stop)

    thread = threading.Thread(target=fill, name="batches", daemon=True)
    thread.start()
    try:
        for _ in steps:
            started = time.perf_counter()
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield Step(item, time.perf_counter() - started)
    finally:
        stop.set()
        thread.join()


def _put(ready: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    """Whether there was room for the item before nobody wanted it any more: who stops does not empty the queue."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.2)
            return True
        except queue.Full:
            continue
    return False
