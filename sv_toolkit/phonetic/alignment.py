"""Which phone is spoken when: phones.ctm (utterance, channel, start and duration in seconds, phone) and labels of frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit.data.forms import number
from sv_toolkit.errors import DataError, plain, shown
from sv_toolkit.io.files import regular_file

TABLE = "phones.ctm"
UNITS = 1e-9  # seconds that rounding may make of nothing


@dataclass(frozen=True)
class Segment:
    """A phone from `start` to `end`, in seconds from the beginning of the utterance."""

    start: float
    end: float
    phone: str


def read_alignments(path: Path) -> dict[str, list[Segment]]:
    """The segments of every utterance, in order of time.

    Raises:
        DataError: names file, line and what is wrong: fields, numbers, or segments that overlap.
    """
    if not regular_file(path):
        raise DataError(f"{plain(path)}: missing: alignments are lines 'utterance channel start duration phone'")
    found: dict[str, list[Segment]] = {}
    for line, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        where = f"{plain(path)}:{line}"
        utterance, segment = _parsed(text, where)
        own = found.setdefault(utterance, [])
        if own and segment.start < own[-1].end - 1e-3:
            raise DataError(f"{where}: begins at {segment.start:g} s, before the phone of the line above ends; sort the file by time")
        own.append(segment)
    if not found:
        raise DataError(f"{plain(path)}: empty: no utterance is aligned")
    return found


def _parsed(text: str, where: str) -> tuple[str, Segment]:
    fields = text.split()
    if len(fields) not in (5, 6):  # Kaldi's confidence may follow
        raise DataError(f"{where}: expected 'utterance channel start duration phone', got {len(fields)} fields: {shown(text)}")
    try:
        start, duration = number(fields[2], "the start", 0), number(fields[3], "the duration", 0)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    return fields[0], Segment(start, start + duration, fields[4])


@dataclass(frozen=True)
class Classes:
    """The classes of a network: phones, each in parts, silence in one.

    Attributes:
        phones: in the order of their classes.
        parts: of every phone but `silence`.
    """

    phones: tuple[str, ...]
    parts: int
    silence: str

    @property
    def names(self) -> list[str]:
        """Of all classes: SIL, AA.1, AA.2, ..."""
        several = self.parts > 1
        return [
            f"{phone}.{part + 1}" if several and phone != self.silence else phone
            for phone in self.phones
            for part in range(self._num(phone))
        ]

    @property
    def phone_of(self) -> np.ndarray:
        """`(num_classes,)` place among `phones` of the phone of each class."""
        return np.repeat(np.arange(len(self.phones)), [self._num(phone) for phone in self.phones])

    def _num(self, phone: str) -> int:
        return 1 if phone == self.silence else self.parts

    def first(self, phone: str) -> int:
        """The first class of a phone."""
        return sum(self._num(other) for other in self.phones[: self.phones.index(phone)])

    def labels(self, segments: list[Segment], num_frames: int, frame_shift: float, first_middle: float) -> np.ndarray:
        """The class that is spoken in the middle of every frame, `(num_frames,)` int64; that of frame 0 lies `first_middle` seconds after the start.

        Raises:
            DataError: a phone that is none of `phones`.
        """
        middles = np.arange(num_frames) * frame_shift + first_middle
        result = np.full(num_frames, self.first(self.silence))
        for segment in segments:
            if segment.phone not in self.phones:
                raise DataError(f"the phone {shown(segment.phone)} is unknown to the classifier")
            own = (middles >= segment.start) & (middles < segment.end)
            part = ((middles[own] - segment.start) / max(segment.end - segment.start, UNITS) * self._num(segment.phone)).astype(np.int64)
            result[own] = self.first(segment.phone) + part
        return result


def classes_of(alignments: dict[str, list[Segment]], parts: int, silence: str) -> Classes:
    """Silence, and then the phones that the alignments have, sorted."""
    phones = {segment.phone for segments in alignments.values() for segment in segments} - {silence}
    return Classes((silence, *sorted(phones)), parts, silence)
