"""EER on held-out speakers while training: the same windows and scores as at inference."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from sv_toolkit.data.feature_index import FeatureIndex, read_all
from sv_toolkit.embeddings.embed import embed
from sv_toolkit.errors import DataError, plain
from sv_toolkit.features.prepare import InputConfig, prepare
from sv_toolkit.metrics.detection import equal_error_rate
from sv_toolkit.models.store import WindowConfig

logger = logging.getLogger("sv_toolkit")
MAX_UTTERANCES = 2000  # two million pairs; more would only make the look slower


class HeldOut:
    """Network inputs of held-out utterances and who spoke them; calling it with a network gives the EER over all pairs.

    Attributes:
        left_out: reason by utterance id, for skipped.tsv.
    """

    def __init__(self, index: FeatureIndex, config: InputConfig, windows: WindowConfig, max_bad: int = 0) -> None:
        self.windows = windows
        self.inputs: list[np.ndarray] = []
        self.speakers: list[str] = []
        self.left_out: dict[str, str] = {}
        taken = spread_over_speakers(index.utterances, index.utt2spk, MAX_UTTERANCES)

        def use(utterance: str, features: np.ndarray, is_voiced: np.ndarray | None) -> None:
            if utterance not in taken:
                return
            frames = prepare(features, is_voiced, config)
            if len(frames) < windows.shortest:
                self.left_out[utterance] = f"held out: {len(frames)} frames of speech, at least {windows.shortest} are needed"
            else:
                self.inputs.append(frames)
                self.speakers.append(index.utt2spk[utterance])

        bad = read_all(index, use, max_bad)
        self.left_out.update({utterance: f"held out: {reason}" for utterance, reason in bad.items()})
        if self.left_out:
            first = "; ".join(f"{plain(key)}: {reason}" for key, reason in sorted(self.left_out.items())[:3])
            logger.warning("%s: %d utterances are left out (skipped.tsv has all): %s", plain(index.path), len(self.left_out), first)
        if len(set(self.speakers)) < 2 or len(set(self.speakers)) == len(self.speakers):
            raise DataError(f"{plain(index.path)}: held-out data needs at least 2 speakers and 2 usable utterances of one of them")

    def __call__(self, network: nn.Module) -> float:
        """EER over all unordered pairs of utterances, as a fraction."""
        vectors = embed(network, self.inputs, self.windows)
        first, second = np.triu_indices(len(vectors), k=1)
        scores = (vectors @ vectors.T)[first, second]
        _, speaker = np.unique(self.speakers, return_inverse=True)
        same = speaker[first] == speaker[second]
        return equal_error_rate(scores[same], scores[~same])


def spread_over_speakers(utterances: Sequence[str], utt2spk: Mapping[str, str], limit: int) -> set[str]:
    """At most `limit` utterances, of every speaker the first, then of every speaker the second, and so on."""
    seen: dict[str, int] = {}
    rounds = []
    for utterance in utterances:
        seen[utt2spk[utterance]] = seen.get(utt2spk[utterance], 0) + 1
        rounds.append(seen[utt2spk[utterance]])
    order = np.argsort(rounds, kind="stable")
    return {utterances[i] for i in order[:limit]}
