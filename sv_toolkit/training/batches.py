"""Batches of network input, made ahead of the step that needs them and where it needs them; one from every source per step."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sv_toolkit.training.augment import Augmentation
from sv_toolkit.training.config import BatchConfig
from sv_toolkit.training.examples import Examples
from sv_toolkit.training.processes import share
from sv_toolkit.training.sampling import draw_batch

CPU = torch.device("cpu")


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
        features: `(num_crops, num_frames, dim)` float32 on the device of the training; this process's part of the batch.
        speakers: `(num_speakers, num_utterances)` class of every utterance of the whole batch, on the device.
        rows: which of the utterances, counted speaker by speaker, `features` holds.
        places: `(num_speakers, num_utterances)` utterances of the source, for messages.
        original: the same crops before any codec, lost band or mask, like `features`; None where the configuration asks for no consistency.
    """

    source: Source
    features: Tensor
    speakers: Tensor
    rows: range
    places: np.ndarray
    original: Tensor | None = None

    def utterances(self) -> list[str]:
        """Ids of the whole batch."""
        return [self.source.examples.name(place) for place in self.places.ravel().tolist()]


@dataclass(frozen=True)
class Step:
    """One batch from every source, and how long the step waited for them.

    Attributes:
        ready: on a GPU, the event after which the batches lie there.
    """

    batches: list[Batch]
    seconds_waited: float = 0.0
    ready: Any = None


def make_batch(
    source: Source, augment: Augmentation, seed: list[int], step: int, rank: int = 0, num_processes: int = 1, device: torch.device = CPU
) -> Batch:
    """The batch of `step`; the same for the same seed and step, whatever came before and however many processes share it."""
    rng = np.random.default_rng([*seed, step])
    draw = draw_batch(source.examples, source.batch, rng)
    plan = augment.draw(draw.places.size, draw.num_frames, source.examples.dim, rng)
    rows = share(draw.places.size, rank, num_processes)
    places, starts = (part[rows.start : rows.stop] for part in (draw.places.ravel(), draw.starts))
    features = augment.inputs(source.examples, places, starts, draw.num_frames, plan.rows(rows), device)
    original = None
    if augment.config.consistency:
        original = augment.originals(source.examples, places, starts, draw.num_frames, plan.rows(rows), device)
    speakers = torch.from_numpy(source.classes[draw.speakers]).to(device, non_blocking=True)
    return Batch(source, features, speakers, rows, draw.places, original)


def prefetch(
    sources: list[Source],
    augment: Augmentation,
    seed: int,
    steps: range,
    rank: int = 0,
    num_processes: int = 1,
    device: torch.device = CPU,
    ahead: int = 4,
) -> Iterator[Step]:
    """The steps in order, up to `ahead` of them made in a thread, and on a GPU in a stream of its own, while the network works."""
    ready: queue.Queue[Step | BaseException] = queue.Queue(ahead)
    stop = threading.Event()

    def fill() -> None:
        try:
            with _own_stream(device) as stream:
                for step in steps:
                    batches = [
                        make_batch(source, augment, [seed, place], step, rank, num_processes, device)
                        for place, source in enumerate(sources)
                    ]
                    if not _put(ready, Step(batches, ready=stream.record_event() if stream else None), stop):
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
            _await(item)
            yield Step(item.batches, time.perf_counter() - started)
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def _own_stream(device: torch.device) -> Iterator[Any]:
    """On a GPU a stream beside that of the network, so that batches are copied and augmented during the step before."""
    if device.type != "cuda":
        yield None
        return
    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        yield stream


def _await(step: Step) -> None:
    """Let the network's stream, not the processor, wait until the batches are there."""
    if step.ready is None:
        return
    stream = torch.cuda.current_stream()
    stream.wait_event(step.ready)
    for batch in step.batches:
        for tensor in (batch.features, batch.speakers, batch.original):
            if tensor is not None:
                tensor.record_stream(stream)


def _put(ready: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    """Whether the item was queued; False once the consumer has stopped, which does not drain the queue."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.2)
            return True
        except queue.Full:
            continue
    return False
