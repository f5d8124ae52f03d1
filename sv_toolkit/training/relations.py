"""What tables say about utterances beside their speaker: which are copies of which, and which share a session."""

from __future__ import annotations

import numpy as np

from sv_toolkit.data.feature_index import FeatureIndex
from sv_toolkit.errors import DataError, plain
from sv_toolkit.io.tables import read_table
from sv_toolkit.training.config import TrainConfig
from sv_toolkit.training.examples import Usable


def relations(config: TrainConfig) -> tuple[str, ...]:
    """The tables of this kind that a training reads."""
    return ("utt2uniq",) * bool(config.augment.consistency) + ("utt2session",) * config.batch.across_sessions


def originals_of(index: FeatureIndex, usable: Usable) -> np.ndarray:
    """`(num_utterances,)` place of the recording that each utterance is a copy of, as `utt2uniq` says, or its own.

    An original of another speaker is none: a copy at another speed is another voice.
    """
    own = np.arange(len(usable.utterances))
    if not (index.path / "utt2uniq").exists():
        return own
    table = read_table(index.path / "utt2uniq", max_fields=2, names="utterance original")
    place = np.full(index.num_utterances, -1)
    place[usable.utterances] = own
    names = _names(index, usable)
    original = np.array([index.ids.find(table.get(name, name)) for name in names], np.int64)
    found = np.where(original < 0, -1, place[original])
    speaker = np.searchsorted(usable.ends, own, side="right")
    return np.where((found >= 0) & (speaker[found] == speaker), found, own)


def sessions_of(index: FeatureIndex, usable: Usable) -> np.ndarray:
    """`(num_utterances,)` code of the session of each utterance, as `utt2session` says; one that it lacks is a session of its own.

    Raises:
        DataError: no such table.
    """
    path = index.path / "utt2session"
    if not path.exists():
        raise DataError(f"{plain(path)}: missing; across_sessions in [batch] needs the session of every utterance")
    table = read_table(path, max_fields=2, names="utterance session")
    codes: dict[str, int] = {}
    return np.array([codes.setdefault(table.get(name, f"of {name} alone"), len(codes)) for name in _names(index, usable)], np.int64)


def _names(index: FeatureIndex, usable: Usable) -> list[str]:
    return [index.ids[utterance] for utterance in usable.utterances.tolist()]
