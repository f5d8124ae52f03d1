"""Verification while somebody speaks: scores of what was heard so far, until they decide.

The score at any moment is that of a recording of the last `history` seconds heard until then, as a file of them would get
it: features are normalised over a whole recording, so nothing can be carried over from one moment to the next.  Looking
often means being wrong more often than at one look; the margins beyond the threshold are there for that.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from sv_toolkit.embeddings.waveform import Embedded, Embedder
from sv_toolkit.errors import AudioError, ConfigError
from sv_toolkit.verification.decision import Decision, Judge, cosine
from sv_toolkit.verification.store import Entry

HISTORY = 5.0  # seconds; five windows of the paper, which its network embeds in half the time that they last, on one processor
LONGEST_HOP = 1.0  # seconds from score to score where the model's windows lie further apart: a claim lasts few seconds
ENOUGH = 1.6  # seconds of speech for an early decision, one window of the paper, where the model's own window is longer


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is followed.

    Attributes:
        history: seconds of sound that a score looks back over; bounds memory and work.  None: 5 s, or one window of the model
            where that is longer.
        hop: seconds from one score to the next; None: one window shift of the model, and 1 s at most.
        stop_accept: stop when the claim lies this far above the threshold; None: never.
        stop_reject: stop when it lies this far under it; None: never.
    """

    history: float | None = None
    hop: float | None = None
    stop_accept: float | None = None
    stop_reject: float | None = None

    def __post_init__(self) -> None:
        for name in ("history", "hop"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 3600:
                raise ConfigError(f"{name} (--{name}) must lie between 0 and 3600 s, got {value}")
        for name in ("stop_accept", "stop_reject"):
            if (getattr(self, name) or 0) < 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class Moment:
    """The state of a stream after `heard` seconds of sound, with `speech` seconds of it (of the history) given to the network.

    `decision` is None where there was too little speech for a score, for the `reason`; `is_final` where the stream ended
    or the claim was far enough beyond the threshold (`is_early`).
    """

    heard: float
    speech: float
    decision: Decision | None
    is_final: bool = False
    is_early: bool = False
    reason: str = ""


@dataclass
class Effort:
    """What a stream cost: seconds of sound, of computing, and of the longest single score."""

    heard: float = 0.0
    spent: float = 0.0
    longest: float = 0.0
    num_scores: int = 0


@dataclass
class Follower:
    """Compares a stream with one enrolled voice.

    Attributes:
        enrolled: `(embedding_dim,)`.
        enrolled_from: how long the enrolled recordings are, which the calibration may ask for.
    """

    embedder: Embedder
    enrolled: np.ndarray
    enrolled_from: Embedded | Entry
    judge: Judge
    options: StreamOptions = StreamOptions()
    effort: Effort = field(default_factory=Effort)

    def __post_init__(self) -> None:
        least = self.embedder.windows.shortest * self.embedder.frame_shift
        if self.history < least:
            raise ConfigError(f"history (--history) must hold the {least:.2f} s of speech that the model needs, got {self.history} s")

    @property
    def history(self) -> float:
        """Seconds that a score looks back over."""
        window = self.embedder.windows.window * self.embedder.frame_shift
        return max(HISTORY, window) if self.options.history is None else self.options.history

    @property
    def step(self) -> int:
        """Samples from one score to the next."""
        shift = self.embedder.windows.shift * self.embedder.frame_shift
        hop = min(shift, LONGEST_HOP) if self.options.hop is None else self.options.hop
        return max(1, round(hop * self.embedder.sample_rate))

    @property
    def enough(self) -> int:
        """Frames of speech from which on a claim may be decided before the stream ends."""
        windows = self.embedder.windows
        return min(windows.window, max(windows.shortest, round(ENOUGH / self.embedder.frame_shift)))

    def follow(self, blocks: Iterable[np.ndarray]) -> Iterator[Moment]:
        """The moments of a stream; how the sound is cut into `blocks` does not matter.

        The last one is final: an early decision, or, where the stream ended, the moment before it once more.

        Args:
            blocks: waveforms `(num_samples,)` float32 at the model's rate, one after the other.
        """
        limit, rate = round(self.history * self.embedder.sample_rate), self.embedder.sample_rate
        buffer, num_heard, last = np.zeros(0, np.float32), 0, None
        for piece in recut(blocks, self.step):
            buffer = np.concatenate([buffer, piece])[-limit:]
            num_heard += len(piece)
            last = self._judged(buffer, num_heard / rate)
            yield last
            if last.is_final:
                return
        if last is None:
            raise AudioError("the stream ended before any sound came")
        yield replace(last, is_final=True)

    def _judged(self, buffer: np.ndarray, heard: float) -> Moment:
        started = time.perf_counter()
        moment = self._score(buffer, heard)
        spent = time.perf_counter() - started
        effort = self.effort
        effort.heard, effort.spent, effort.longest = heard, effort.spent + spent, max(effort.longest, spent)
        effort.num_scores += moment.decision is not None
        return moment

    def _score(self, buffer: np.ndarray, heard: float) -> Moment:
        try:
            embedded = self.embedder.embed(buffer)
        except AudioError as error:
            return Moment(heard, 0.0, None, reason=str(error))
        decision = self.judge.decide(cosine(self.enrolled, embedded.vector), self.enrolled_from, embedded)
        is_early = embedded.num_voiced >= self.enough and self._is_clear(decision)
        return Moment(heard, embedded.num_voiced * self.embedder.frame_shift, decision, is_early, is_early)

    def _is_clear(self, decision: Decision) -> bool:
        margin, above, below = decision.margin, self.options.stop_accept, self.options.stop_reject
        if margin is None:
            return False
        return (above is not None and margin >= above) or (below is not None and margin < -below)


def recut(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in blocks of `size`, and the rest at the end."""
    waiting: list[np.ndarray] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block)
        if count >= size:
            joined = np.concatenate(waiting)
            whole = count - count % size
            yield from np.split(joined[:whole], whole // size)
            waiting, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(waiting)
