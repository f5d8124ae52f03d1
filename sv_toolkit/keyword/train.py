"""Training of a keyword detector: cross-entropy of frames, the words aligned again and hard background found between the rounds.

Every choice is drawn from one seed, and one thread gives the same bits at every run.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sv_toolkit.keyword.align import FLOOR, SHORTEST, best_path, even_states, voiced_stretch
from sv_toolkit.keyword.config import KeywordConfig
from sv_toolkit.keyword.corpus import Material
from sv_toolkit.keyword.detector import Detector
from sv_toolkit.keyword.posteriors import NUM_LAYERS, forward

logger = logging.getLogger("sv_toolkit")
NATS_PER_DB = math.log(10) / 10
MEASURED = 20_000  # frames that mean and scale of the inputs are measured on
PIECE = 4096  # frames whose posteriors are made at a time


@dataclass(frozen=True)
class Corpus:
    """What is learned from; features of one frame or more.

    Attributes:
        clips: keyword recordings, features `(num_frames, num_bands)` each.
        clip_words: `(num_clips,)` index of the word of each, or -1 for a word that is filler.
        background: recordings without keywords.
        noise: recordings to mix in; may be empty.
    """

    clips: list[np.ndarray]
    clip_words: np.ndarray
    background: list[np.ndarray]
    noise: list[np.ndarray]


def train_detector(corpus: Corpus, words: tuple[str, ...], config: KeywordConfig, seed: int) -> Detector:
    """The detector of `words`, trained from nothing."""
    return _Training(corpus, words, config, seed).run()


class _Training:
    def __init__(self, corpus: Corpus, words: tuple[str, ...], config: KeywordConfig, seed: int) -> None:
        self.corpus, self.words, self.config = corpus, words, config
        self.rng = np.random.default_rng(seed)
        left, right = config.detector.left, config.detector.right
        self.clips = Material.of(corpus.clips, left, right)
        self.background = Material.of(corpus.background, left, right)
        self.noise = Material.of(corpus.noise, left, right) if corpus.noise else None
        self.labels = self._first_labels()
        self.hard = np.zeros(0, np.int64)
        torch.manual_seed(int(self.rng.integers(2**63)))
        self.network = make_network(config, 1 + len(words) * config.detector.states)
        self.mean, self.scale = self._moments()

    def run(self) -> Detector:
        training = self.config.training
        for number in range(training.rounds):
            if number:
                detector = self.detector()
                moved = self._align(detector)
                self._find_hard(detector)
                logger.info("round %d: %.1f %% of the frames have another label than before", number + 1, 100 * moved)
            logger.info("round %d of %d: cross-entropy %.4f at the end", number + 1, training.rounds, self._round())
        return self.detector()

    def detector(self) -> Detector:
        """The detector as it is now."""
        linear = [layer for layer in self.network if isinstance(layer, nn.Linear)]
        weights = {"mean": self.mean, "scale": self.scale}
        for number, layer in enumerate(linear):
            weights |= {f"weight{number}": layer.weight.detach().numpy().copy(), f"bias{number}": layer.bias.detach().numpy().copy()}
        return Detector(self.words, self.config, weights)

    def _first_labels(self) -> np.ndarray:
        """Labels of all frames of the clips by the voiced stretch."""
        return np.concatenate([self._even(word, voiced_stretch(clip)) for word, clip in zip(self.corpus.clip_words, self.corpus.clips)])

    def _even(self, word: int, is_word: np.ndarray) -> np.ndarray:
        states = self.config.detector.states
        return np.zeros(len(is_word), np.int64) if word < 0 else even_states(is_word, 1 + word * states, states)

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and reciprocal deviation of the inputs."""
        half = MEASURED // 2
        parts = (self.clips, self.background)
        rows = np.concatenate([self._rows(part, self.rng.integers(len(part.centers), size=half)) for part in parts])
        return rows.mean(axis=0), 1 / (rows.std(axis=0) + np.float32(1e-3))

    def _rows(self, material: Material, frames: np.ndarray, noisy: bool = False) -> np.ndarray:
        """Inputs `(num_chosen, dim)` as `posteriors.stacked` makes them, with noise if asked for."""
        left, right = self.config.detector.left, self.config.detector.right
        windows = material.windows(frames, left, right)
        if noisy and self.noise is not None:
            windows = self._mixed(windows, material.level_of(frames))
        rows = windows.reshape(len(frames), -1)
        return rows - rows.mean(axis=1, keepdims=True)

    def _mixed(self, windows: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """Noise added to some of the windows, in the powers of the bands."""
        assert self.noise is not None
        training, count = self.config.training, len(windows)
        chosen = np.flatnonzero(self.rng.random(count) < training.noise)
        frames = self.rng.integers(len(self.noise.centers), size=len(chosen))
        snr = self.rng.uniform(training.snr_low, training.snr_high, len(chosen))
        gain = levels[chosen] - self.noise.level_of(frames) - snr.astype(np.float32) * np.float32(NATS_PER_DB)
        noise = self.noise.windows(frames, self.config.detector.left, self.config.detector.right)
        mixed = windows.copy()
        mixed[chosen] = np.logaddexp(windows[chosen], noise + gain[:, None, None])
        return mixed

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Half keyword recordings, half background, some of it hard."""
        training = self.config.training
        own = training.batch // 2
        num_hard = round(training.hard * (training.batch - own)) if len(self.hard) else 0
        frames = self.rng.integers(len(self.clips.centers), size=own)
        other = self.rng.integers(len(self.background.centers), size=training.batch - own - num_hard)
        if num_hard:
            other = np.concatenate([other, self.hard[self.rng.integers(len(self.hard), size=num_hard)]])
        rows = np.concatenate([self._rows(self.clips, frames, True), self._rows(self.background, other, True)])
        labels = np.concatenate([self.labels[frames], np.zeros(len(other), np.int64)])
        return torch.from_numpy(((rows - self.mean) * self.scale).astype(np.float32)), torch.from_numpy(labels)

    def _round(self) -> float:
        """One pass; the mean loss of its last tenth."""
        training = self.config.training
        optimizer = torch.optim.Adam(self.network.parameters(), lr=training.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
        self.network.train()
        losses = []
        for _ in range(training.steps):
            inputs, labels = self._batch()
            loss = nn.functional.cross_entropy(self.network(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        return float(np.mean(losses[-max(len(losses) // 10, 1) :]))

    def _posteriors(self, detector: Detector, material: Material) -> np.ndarray:
        frames = np.arange(len(material.centers))
        pieces = [forward(self._rows(material, piece), detector.weights) for piece in np.split(frames, range(PIECE, len(frames), PIECE))]
        return np.concatenate(pieces)

    def _align(self, detector: Detector) -> float:
        """Find the words again in their recordings; the share of frames with another label."""
        states = self.config.detector.states
        posteriors = self._posteriors(detector, self.clips)
        priors = np.bincount(self.labels, minlength=detector.num_outputs) / len(self.labels)
        scores = np.log(np.maximum(posteriors, FLOOR)) - np.log(np.maximum(priors, FLOOR))
        labels = self.labels.copy()
        for clip, word in enumerate(self.corpus.clip_words):
            if word >= 0:
                own = slice(*self.clips.bounds[clip : clip + 2])
                columns = [0, *range(1 + word * states, 1 + (word + 1) * states)]
                path = best_path(scores[own][:, columns], -(-SHORTEST // states))
                labels[own] = np.where(path > 0, path + word * states, 0)
        moved = float((labels != self.labels).mean())
        self.labels = labels
        return moved

    def _find_hard(self, detector: Detector) -> None:
        """The background frames that are least like filler to the detector."""
        filler = self._posteriors(detector, self.background)[:, 0]
        count = max(round(self.config.training.pool * len(filler)), 1)
        self.hard = np.sort(np.argpartition(filler, count - 1)[:count])


def make_network(config: KeywordConfig, num_outputs: int) -> nn.Sequential:
    """Three hidden layers of rectified units, and logits."""
    width = config.detector.left + 1 + config.detector.right
    sizes = [width * config.fbank.dim, *[config.detector.hidden] * (NUM_LAYERS - 1)]
    layers: list[nn.Module] = []
    for size, following in zip(sizes, sizes[1:]):
        layers += [nn.Linear(size, following), nn.ReLU(), nn.Dropout(config.training.dropout)]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], num_outputs))
