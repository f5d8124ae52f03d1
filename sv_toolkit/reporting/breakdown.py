"""Trials by what is known of them: the conditions of `conditions`, and the length of the test utterance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sv_toolkit.data.quality import positive_length, read_lengths
from sv_toolkit.data.trials import Trials
from sv_toolkit.reporting.conditions import CONDITIONS, Origin, split_by

Part = tuple[str, np.ndarray]
DURATION = "test duration"
_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_FRAMES = (100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0)


def known_conditions(origin: Origin) -> list[str]:
    """The conditions that the maps of the data directory allow."""
    there = [name for name, table in CONDITIONS.items() if (origin.data / table).exists()]
    if "gender" in there and origin.utt2spk is None:
        there.remove("gender")
    return there + ([DURATION] if any((origin.data / name).exists() for name in ("utt2dur", "utt2num_frames")) else [])


def parts_by(trials: Trials, condition: str, origin: Origin) -> Iterator[Part]:
    """Names and `(num_trials,)` masks of the parts of the trials, those in bins from the lowest up.

    Raises:
        DataError: the map that the condition needs is missing or damaged.
    """
    return _by_duration(trials, origin) if condition == DURATION else split_by(trials, condition, origin)


def _by_duration(trials: Trials, origin: Origin) -> Iterator[Part]:
    """By the length of the test utterance, in seconds, or in frames where only these are known."""
    in_seconds = (origin.data / "utt2dur").exists()
    table = read_lengths(origin.data / ("utt2dur" if in_seconds else "utt2num_frames"))
    length = {key: positive_length(table, key) for key in table}
    edges, unit = (_SECONDS, "s") if in_seconds else (_FRAMES, "frames")
    names = [f"under {edges[0]:g} {unit}", *(f"{a:g} to {b:g} {unit}" for a, b in zip(edges, edges[1:])), f"{edges[-1]:g} {unit} and more"]
    of_test = np.array([length.get(key, np.nan) for key in trials.test_ids])
    return _bins(of_test[trials.test_index], edges, names, "unknown duration")


def _bins(values: np.ndarray, edges: Sequence[float], names: Sequence[str], unknown: str) -> Iterator[Part]:
    place = np.where(np.isnan(values), len(names), np.digitize(values, edges))
    for index in np.unique(place):
        yield [*names, unknown][index], place == index
