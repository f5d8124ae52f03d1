"""Batches of network input, made ahead of the step that needs them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sv_toolkit.training.augment import Augment
from sv_toolkit.training.config import BatchConfig
from sv_toolkit.training.examples import Examples
from sv_toolkit.training.sampling import draw_batch


@dataclass(frozen=True)
class Batch:
    """Network input of one step.

    Attributes:
        features: `(num_speakers * num_utterances, num_frames, dim)` float32, zero-padded at the end.
        lengths: `(num_speakers * num_utterances,)` frames that count, or None where all are equal.
        utterances: ids in the same order, for messages.
        seconds_waited: how long the step waited for it.
    """

    features: np.ndarray
    lengths: np.ndarray | None
    utterances: list[str]
    seconds_waited: float = 0.0


def make_batch(examples: Examples, config: BatchConfig, augment: Augment, seed: int, step: int) -> Batch:
    """The batch of `step`; the same for the same seed and step, whatever came before."""
    draw = draw_batch(examples, config, seed, step)
    ids = [utterance for own in draw.utterances for utterance in own]
    pieces = augment(examples, ids, [crop for own in draw.crops for crop in own], draw.rng)
    lengths = np.array([len(piece) for piece in pieces])
    if lengths.min() == lengths.max():
        return Batch(np.stack(pieces), None, ids)
    features = np.zeros((len(pieces), lengths.max(), examples.dim), dtype=np.float32)
    for row, piece in enumerate(pieces):
        features[row, : len(piece)] = piece
    return Batch(features, lengths, ids)


def prefetch(examples: Examples, config: BatchConfig, augment: Augment, seed: int, steps: range, ahead: int = 4) -> Iterator[Batch]:
    """The batches of `steps` in order, up to `ahead` of them made in a thread while the network works."""
    ready: queue.Queue[Batch | BaseException] = queue.Queue(ahead)
    stop = threading.Event()

    def fill() -> None:
        try:
            for step in steps:
                item: Batch | BaseException = make_batch(examples, config, augment, seed, step)
                while not stop.is_set():
                    try:
                        ready.put(item, timeout=0.2)
                        break
                    except queue.Full:
                        continue
                if stop.is_set():
                    return
        except BaseException as error:  # the step that asks for this batch raises it
            ready.put(error)

    thread = threading.Thread(target=fill, name="batches", daemon=True)
    thread.start()
    try:
        for _ in steps:
            started = time.perf_counter()
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield Batch(item.features, item.lengths, item.utterances, time.perf_counter() - started)
    finally:
        stop.set()
        thread.join()
