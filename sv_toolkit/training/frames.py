"""Crops of selected frames, from the archives, from memory, or from the memory of the device: the same numbers from all three."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.features.prepare import InputConfig, select_frames
from sv_toolkit.training.index import TrainingIndex

SILENCE = -np.inf  # log power of the time before an utterance


class Frames(Protocol):
    """Where crops come from."""

    def crops(self, places: np.ndarray, starts: np.ndarray, num_frames: int, context: int = 0) -> Tensor:
        """`(len(places), context + num_frames, dim)` frames before normalisation.

        An utterance shorter than `num_frames` is repeated from its beginning.

        Args:
            places: utterances.
            starts: first frame of each crop; 0 for an utterance that is repeated.
            context: frames before the crop; -inf where the utterance has not begun yet.
        """


class ArchiveFrames:
    """Frames read from the archives, a crop at a time.

    Args:
        utterances: `(n,)` places in the index of the utterances 0, 1, ... that crops are asked of.
        pinned: put crops where a GPU can fetch them while the processor goes on.
    """

    def __init__(
        self, index: FeatureIndex, table: TrainingIndex, config: InputConfig, utterances: np.ndarray, pinned: bool = False
    ) -> None:
        self.index, self.table, self.config, self.pinned = index, table, config, pinned
        self.utterances = utterances
        self.num_frames = table.num_frames[utterances]

    def crops(self, places: np.ndarray, starts: np.ndarray, num_frames: int, context: int = 0) -> Tensor:
        """See `Frames`."""
        batch = torch.empty(len(places), context + num_frames, self.index.dim, pin_memory=self.pinned)
        for row, place, start in zip(batch.numpy(), places.tolist(), starts.tolist()):
            self._fill(row, place, start, context)
        return batch

    def _fill(self, row: np.ndarray, place: int, start: int, context: int) -> None:
        begin = max(start - context, 0)
        gap = context - (start - begin)
        row[:gap] = SILENCE
        stop = min(begin + len(row) - gap, int(self.num_frames[place]))
        own = row[gap : gap + stop - begin]
        self.read(place, begin, stop, own)
        repeat(row[gap:], len(own))

    def read(self, place: int, start: int, stop: int, out: np.ndarray) -> None:
        """Selected frames `[start, stop)` of an utterance into `out`.

        Raises:
            ArchiveError, DataError: the archive is no longer what it was; names the utterance.
        """
        utterance = int(self.utterances[place])
        if self.config.cmvn == "sliding":  # its window reaches beyond the crop
            out[:] = select_frames(*self.index.read_at(utterance), self.config)[start:stop]
            return
        rows = self.table.selected(utterance, start, stop)
        if rows is None:
            first = int(self.table.first_row[utterance]) + start
            self._read_rows(utterance, first, first + stop - start, out)
        else:
            span = np.empty((int(rows[-1]) + 1 - int(rows[0]), self.index.dim), np.float32)
            self._read_rows(utterance, int(rows[0]), int(rows[-1]) + 1, span)
            np.take(span, rows - rows[0], axis=0, out=out)

    def _read_rows(self, utterance: int, first: int, stop: int, out: np.ndarray) -> None:
        position = int(self.table.position[utterance])
        if position < 0:
            out[:] = self.index.rows_at(utterance, first, stop)
        else:
            self.index.read_into(utterance, position + first * self.index.dim * 4, out)


class MemoryFrames:
    """Frames in one array in memory; an utterance is read when it is first drawn, so that training begins at once."""

    def __init__(self, source: ArchiveFrames) -> None:
        self.source = source
        self.first = np.concatenate([[0], np.cumsum(source.num_frames, dtype=np.int64)])
        self.values = np.empty((int(self.first[-1]), source.index.dim), np.float32)
        self.is_here = np.zeros(len(source.num_frames), bool)

    def crops(self, places: np.ndarray, starts: np.ndarray, num_frames: int, context: int = 0) -> Tensor:
        """See `Frames`."""
        self._fetch(places)
        begins = np.maximum(starts - context, 0)
        gaps = context - (starts - begins)
        first = self.first[places] + begins
        ends = np.minimum(first + context + num_frames - gaps, self.first[places + 1])
        batch = torch.empty(len(places), context + num_frames, self.values.shape[1], pin_memory=self.source.pinned)
        values = self.values
        for row, begin, end, gap in zip(batch.numpy(), first.tolist(), ends.tolist(), gaps.tolist()):
            if gap or end - begin < len(row):
                row[:gap] = SILENCE
                row[gap : gap + end - begin] = values[begin:end]
                repeat(row[gap:], end - begin)
            else:
                row[:] = values[begin:end]
        return batch

    def _fetch(self, places: np.ndarray) -> None:
        for place in np.unique(places[~self.is_here[places]]).tolist():
            begin, end = self.first[place : place + 2]
            self.source.read(place, 0, end - begin, self.values[begin:end])
            self.is_here[place] = True


class DeviceFrames:
    """Frames in one array on a GPU, where a batch is one gather; an utterance is copied there when it is first drawn."""

    def __init__(self, source: ArchiveFrames, device: torch.device) -> None:
        self.source, self.device = source, device
        self.first = np.concatenate([[0], np.cumsum(source.num_frames, dtype=np.int64)])
        self.values = torch.empty(int(self.first[-1]), source.index.dim, device=device)
        self.is_here = np.zeros(len(source.num_frames), bool)

    def crops(self, places: np.ndarray, starts: np.ndarray, num_frames: int, context: int = 0) -> Tensor:
        """See `Frames`."""
        self._fetch(places)
        numbers = np.stack([self.first[places], self.source.num_frames[places], starts - context])
        first, length, begin = torch.from_numpy(numbers).to(self.device, non_blocking=True)[:, :, None]
        frame = begin + torch.arange(context + num_frames, device=self.device)
        rows = first + torch.where(frame < 0, 0, frame % length)
        batch = self.values.index_select(0, rows.flatten()).unflatten(0, (len(places), -1))
        return batch.masked_fill_((frame < 0)[:, :, None], SILENCE) if context else batch

    def _fetch(self, places: np.ndarray) -> None:
        for place in np.unique(places[~self.is_here[places]]).tolist():
            begin, end = self.first[place : place + 2]
            frames = np.empty((end - begin, self.values.shape[1]), np.float32)
            self.source.read(place, 0, end - begin, frames)
            self.values[begin:end] = torch.from_numpy(frames)
            self.is_here[place] = True


def repeat(row: np.ndarray, num_filled: int) -> None:
    """Fill the rest of `row` with its first `num_filled` frames, again and again."""
    while num_filled < len(row):
        num_more = min(num_filled, len(row) - num_filled)
        row[num_filled : num_filled + num_more] = row[:num_more]
        num_filled += num_more


def hold_frames(source: ArchiveFrames, memory: float, device: torch.device, device_memory: float) -> Frames:
    """The fastest place that has room for all frames of `source`.

    Args:
        memory, device_memory: bytes that may be used here and on the GPU.
    """
    size = int(source.num_frames.sum(dtype=np.int64)) * source.index.dim * 4
    if device.type == "cuda" and size <= device_memory:
        return DeviceFrames(source, device)
    return MemoryFrames(source) if size <= memory else source


def free_memory(device: torch.device) -> float:
    """Bytes of a GPU that nobody uses; 0 for a processor."""
    return float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0.0
