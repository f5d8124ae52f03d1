"""EER on held-out speakers while training: the same windows and scores as at inference, shared by all processes."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import nn

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.embeddings.embed import embed
from sv_toolkit.errors import ArchiveError, DataError, TooManyBadError, plain
from sv_toolkit.features.prepare import InputConfig, prepare
from sv_toolkit.metrics.detection import equal_error_rate
from sv_toolkit.models.store import WindowConfig
from sv_toolkit.training.processes import Processes, share

logger = logging.getLogger("sv_toolkit")
MAX_UTTERANCES = 2000  # two million pairs; more would only make validation slower


class HeldOut:
    """Network inputs of held-out utterances and who spoke them; calling it with a network gives the EER over all pairs.

    Attributes:
        left_out: reason by utterance id, for skipped.tsv.
    """

    def __init__(self, index: FeatureIndex, config: InputConfig, windows: WindowConfig, max_bad: int = 0) -> None:
        self.index, self.windows = index, windows
        self.inputs: list[np.ndarray] = []
        self.left_out: dict[str, str] = {}
        speakers: list[int] = []
        num_bad = 0
        for place in spread_over_speakers(index.speaker_codes, MAX_UTTERANCES).tolist():
            try:
                frames = prepare(*index.read_at(place), config)
            except (DataError, ArchiveError) as error:
                self.left_out[index.ids[place]] = f"held out: {error}"
                num_bad += 1
                continue
            if len(frames) < windows.shortest:
                self.left_out[index.ids[place]] = f"held out: {len(frames)} frames of speech, at least {windows.shortest} are needed"
            else:
                self.inputs.append(frames)
                speakers.append(int(index.speaker_codes[place]))
        self.speakers = np.array(speakers)
        self._check(num_bad, max_bad)

    def _check(self, num_bad: int, max_bad: int) -> None:
        if num_bad > max_bad:
            first = "; ".join(list(self.left_out.values())[:3])
            raise TooManyBadError(f"{plain(self.index.path)}: {num_bad} utterances cannot be read (--max-bad {max_bad}): {first}")
        if self.left_out:
            first = "; ".join(f"{plain(key)}: {reason}" for key, reason in sorted(self.left_out.items())[:3])
            logger.warning("%s: %d utterances are left out (skipped.tsv has all): %s", plain(self.index.path), len(self.left_out), first)
        if len(set(self.speakers.tolist())) < 2 or len(set(self.speakers.tolist())) == len(self.speakers):
            raise DataError(f"{plain(self.index.path)}: held-out data needs at least 2 speakers and 2 usable utterances of one of them")

    def __call__(self, network: nn.Module, processes: Processes | None = None) -> float:
        """EER over all unordered pairs of utterances, as a fraction; every process embeds its share."""
        vectors = self._embed(network, processes or Processes())
        first, second = np.triu_indices(len(vectors), k=1)
        scores = (vectors @ vectors.T)[first, second]
        same = self.speakers[first] == self.speakers[second]
        return equal_error_rate(scores[same], scores[~same])

    def _embed(self, network: nn.Module, processes: Processes) -> np.ndarray:
        own = share(len(self.inputs), processes.rank, processes.number)
        vectors = embed(network, self.inputs[own.start : own.stop], self.windows)
        if processes.number == 1:
            return vectors
        device = next(network.parameters()).device
        everything, _ = processes.gather(torch.from_numpy(vectors).to(device), len(self.inputs))
        return everything.cpu().numpy()


def spread_over_speakers(speaker_codes: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` utterances in ascending order: of every speaker the first, then of every speaker the second, and so on."""
    order = np.argsort(speaker_codes, kind="stable")
    ordered = speaker_codes[order]
    rounds = np.empty(len(order), np.int64)
    rounds[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return np.sort(np.argsort(rounds, kind="stable")[:limit])
