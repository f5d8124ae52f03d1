"""A keyword detector in a folder, and how it follows a stream: detections as soon as nothing later can change them.

Work is done in blocks of a fixed number of frames counted from the beginning, however the samples come: a stream and the
file of it give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sv_toolkit.config import as_table, build
from sv_toolkit.errors import ConfigError, ModelError, plain
from sv_toolkit.features.fbank import fbank
from sv_toolkit.features.stacking import with_context
from sv_toolkit.io.described import Keeper
from sv_toolkit.keyword.confidence import Peak, confidences, middle, peaks, smoothed
from sv_toolkit.keyword.config import KeywordConfig
from sv_toolkit.keyword.posteriors import NUM_LAYERS, forward, stacked

DETECTOR = Keeper("keyword", "arrays", "a keyword detector", "sv-train-keyword")
BLOCK = 25  # frames that features and posteriors are made of at a time: a quarter of a second
MAX_UNITS = 1 << 16


@dataclass(frozen=True)
class Detector:
    """A trained detector.

    Attributes:
        words: in the order of the outputs, after filler.
        weights: arrays of `posteriors.forward`, float32.
        digest: SHA-256 of the weights' file; "" where it was never written.
    """

    words: tuple[str, ...]
    config: KeywordConfig
    weights: dict[str, np.ndarray]
    digest: str = ""

    @property
    def num_outputs(self) -> int:
        """Filler, and the states of all words."""
        return 1 + len(self.words) * self.config.detector.states

    def stream(self) -> Listener:
        """What follows one recording."""
        return Listener(self)


@dataclass(frozen=True)
class Detection:
    """A keyword that was heard.

    Attributes:
        word: which one.
        confidence: in [0, 1].
        time: seconds, when the confidence was at its highest: a little after the word.
        start, end: seconds, of the segment around the middle of the word.
    """

    word: str
    confidence: float
    time: float
    start: float
    end: float


class Listener:
    """Follows one recording: `push` samples as they come, `finish` at the end; both give the detections that have become certain.

    Attributes:
        num_heard: samples so far.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.fbank, self.config = detector.config.fbank, detector.config.detector
        self.num_heard = 0
        self._samples = np.zeros(0, np.float32)  # from the first sample of the next frame on
        self._extended = np.zeros((0, self.fbank.dim), np.float32)  # from the left context of the next posterior on
        self._posteriors = np.zeros((0, detector.num_outputs), np.float32)
        self._base = 0  # frame of the first of these posteriors
        self._confidences = np.zeros((0, len(detector.words)))  # of the same frames
        self._judged = 0  # frames before this one have been detections or not

    def push(self, samples: np.ndarray) -> list[Detection]:
        """Take the next samples `(num_samples,)` float32 in [-1, 1)."""
        self.num_heard += len(samples)
        self._samples = np.concatenate([self._samples, samples])
        needed = (BLOCK - 1) * self.fbank.shift_samples + self.fbank.length_samples
        found = []
        while len(self._samples) >= needed:
            self._add_features(fbank(self._samples[:needed], self.fbank))
            self._samples = self._samples[BLOCK * self.fbank.shift_samples :]
            found += self._advance(is_end=False)
        return found

    def finish(self) -> list[Detection]:
        """The detections that only the end makes certain."""
        self._add_features(fbank(self._samples, self.fbank))
        if len(self._extended):
            self._extended = with_context(self._extended, 0, self.config.right)
        return self._advance(is_end=True)

    def _add_features(self, features: np.ndarray) -> None:
        if len(self._extended) == 0:
            features = with_context(features, self.config.left, 0)
        self._extended = np.concatenate([self._extended, features])

    def _advance(self, is_end: bool) -> list[Detection]:
        """Posteriors and confidences of whole blocks, at the end of the rest too; then the detections."""
        width = self.config.left + 1 + self.config.right
        while (count := min(len(self._extended) - width + 1, BLOCK)) == BLOCK or (is_end and count > 0):
            rows = stacked(self._extended[: count + width - 1], width)
            self._extended = self._extended[count:]
            self._add_posteriors(forward(rows, self.detector.weights))
        return self._detections(is_end)

    def _add_posteriors(self, posteriors: np.ndarray) -> None:
        """Confidences of new frames, from as much of the past as they look back on."""
        self._posteriors = np.concatenate([self._posteriors, posteriors])
        back = self.config.smoothing + self.config.window
        first = max(len(self._posteriors) - len(posteriors) - back, 0)
        smooth = smoothed(self._posteriors[first:], self.config.smoothing)
        if self._base + first:  # the windows of these frames reach beyond what is here
            smooth = smooth[self.config.smoothing :]
        values = confidences(smooth, self.config.states, self.config.window)
        self._confidences = np.concatenate([self._confidences, values[-len(posteriors) :]])

    def _detections(self, is_end: bool) -> list[Detection]:
        """Detections that nothing later can change; then forget what nobody will look at again."""
        last = self._base + len(self._confidences) - (0 if is_end else self.config.separation)
        if last <= self._judged:
            return []
        found = peaks(self._confidences, self.config.separation, self.config.floor)
        certain = [self._detection(peak) for peak in found if self._judged <= self._base + peak.frame < last]
        self._judged = last
        keep = self.config.smoothing + self.config.window + self.config.separation
        drop = max(self._judged - keep - self._base, 0)
        self._posteriors, self._confidences = self._posteriors[drop:], self._confidences[drop:]
        self._base += drop
        return certain

    def _detection(self, peak: Peak) -> Detection:
        """Where the word was: around the middle of its posteriors in the window that the confidence looked at."""
        states = self.config.states
        first = max(peak.frame + 1 - self.config.smoothing - self.config.window, 0)
        own = slice(1 + peak.word * states, 1 + (peak.word + 1) * states)
        weights = self._posteriors[first : peak.frame + 1, own].sum(axis=1)
        shift = self.fbank.frame_shift
        center = (self._base + first + middle(weights)) * shift + self.fbank.frame_length / 2
        start, end = placed(center, self.config.segment, self.num_heard / self.fbank.sample_rate)
        word = self.detector.words[peak.word]
        return Detection(word, peak.confidence, (self._base + peak.frame) * shift + self.fbank.frame_length, start, end)


def placed(center: float, length: float, total: float) -> tuple[float, float]:
    """Start and end of a segment of `length` seconds around `center`, moved into a recording of `total` seconds; it may be shorter."""
    start = max(min(center - length / 2, total - length), 0.0)
    return start, min(start + length, total)


def follow(detector: Detector, blocks: Iterable[np.ndarray]) -> Iterator[Detection]:
    """Detections in a stream of sample blocks, each as soon as it is certain."""
    listener = detector.stream()
    for block in blocks:
        yield from listener.push(block)
    yield from listener.finish()


def detect(detector: Detector, samples: np.ndarray) -> list[Detection]:
    """Detections in a waveform `(num_samples,)` at the detector's rate, by time."""
    return list(follow(detector, [samples]))


def save_detector(folder: Path, detector: Detector, provenance: dict[str, Any]) -> None:
    """Write `keyword.json` and `keyword.safetensors`, neither of which can run code; the caller holds the lock of the folder."""
    from safetensors.numpy import save

    blob = save({name: np.ascontiguousarray(array) for name, array in detector.weights.items()})
    content = {"words": list(detector.words), "config": as_table(detector.config), "provenance": provenance}
    DETECTOR.save(folder, blob, content)


def read_provenance(folder: Path) -> dict[str, Any]:
    """What the detector in the folder was made of."""
    return DETECTOR.read(folder, lambda content, where: dict(content["provenance"]))[0]


def load_detector(folder: Path) -> Detector:
    """The detector that `save_detector` wrote.

    Raises:
        ModelError: the folder holds none, or it is damaged.
    """
    from safetensors.numpy import load

    (words, config), known = DETECTOR.read(folder, _described)
    weights = DETECTOR.load(folder, known, load)
    detector = Detector(words, config, weights, known["sha256"])
    found = {name: array.shape for name, array in weights.items()}
    if found != shapes(config, detector.num_outputs) or any(array.dtype != np.float32 for array in weights.values()):
        raise ModelError(
            f"{plain(folder / DETECTOR.arrays)}: the arrays are not those of the detector that {DETECTOR.description} describes"
        )
    return detector


def _described(content: dict[str, Any], where: str) -> tuple[tuple[str, ...], KeywordConfig]:
    words = tuple(map(str, content["words"]))
    if not words or len(set(words)) < len(words) or len(words) > MAX_UNITS:
        raise ValueError("words")
    try:
        return words, build(KeywordConfig, content["config"], f"{where}: config")
    except ConfigError as error:
        raise ModelError(str(error)) from None


def shapes(config: KeywordConfig, num_outputs: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights."""
    dim = (config.detector.left + 1 + config.detector.right) * config.fbank.dim
    sizes = [dim, *[config.detector.hidden] * (NUM_LAYERS - 1), num_outputs]
    known: dict[str, tuple[int, ...]] = {"mean": (dim,), "scale": (dim,)}
    for layer in range(NUM_LAYERS):
        known |= {f"weight{layer}": (sizes[layer + 1], sizes[layer]), f"bias{layer}": (sizes[layer + 1],)}
    return known
