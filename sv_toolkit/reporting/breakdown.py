"""Trials by what is known of them: keyword, session, gender, days between the sessions, length of the test utterance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import numpy as np

from sv_toolkit.data.trials import Trials
from sv_toolkit.errors import DataError, plain, shown
from sv_toolkit.io.tables import read_table
from sv_toolkit.reporting.conditions import CONDITIONS, Origin, split_by

Part = tuple[str, np.ndarray]
GAP, DURATION = "days between sessions", "test duration"
_DATE = re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)")
_DAYS = (1, 8, 31, 91, 366)  # first days of the bins after the first
_DAY_NAMES = ("same day", "1 to 7 days", "8 to 30 days", "31 to 90 days", "91 to 365 days", "over a year")
_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_FRAMES = (100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0)


def known_conditions(origin: Origin) -> list[str]:
    """The conditions that the maps of the data directory allow."""
    there = [name for name, table in CONDITIONS.items() if (origin.data / table).exists()]
    if "gender" in there and origin.utt2spk is None:
        there.remove("gender")
    sessions = origin.data / CONDITIONS["session"]
    if sessions.exists() and any(_DATE.search(value) for value in read_table(sessions, sorted_by_bytes=False).values()):
        there.append(GAP)
    if any((origin.data / name).exists() for name in ("utt2dur", "utt2num_frames")):
        there.append(DURATION)
    return there


def parts_by(trials: Trials, condition: str, origin: Origin) -> Iterator[Part]:
    """Names and `(num_trials,)` masks of the parts of the trials, those in bins from the lowest up.

    Raises:
        DataError: the map that the condition needs is missing or damaged.
    """
    if condition == GAP:
        return _by_gap(trials, origin)
    if condition == DURATION:
        return _by_duration(trials, origin)
    return split_by(trials, condition, origin)


def _by_gap(trials: Trials, origin: Origin) -> Iterator[Part]:
    """By the days between the dates that the names of the sessions hold; a model's date is that of its first session."""
    sessions = read_table(origin.data / CONDITIONS["session"], sorted_by_bytes=False)
    day = {key: _day(value, sessions.where(key)) for key, value in sessions.items()}
    models = origin.models or {}
    enroll = [_earliest(models.get(key, (key,)), day) for key in trials.enroll_ids]
    test = [day.get(key, np.nan) for key in trials.test_ids]
    gap = np.abs(np.array(enroll)[trials.enroll_index] - np.array(test)[trials.test_index])
    return _bins(gap, _DAYS, _DAY_NAMES, "unknown date")


def _day(session: str, where: str) -> float:
    found = _DATE.search(session)
    if found is None:
        return np.nan
    try:
        return float(date(*map(int, found.groups())).toordinal())
    except ValueError:
        raise DataError(f"{plain(where)}: {shown(found.group())} is no day of the calendar") from None


def _earliest(utterances: Sequence[str], day: Mapping[str, float]) -> float:
    return min((day.get(key, np.nan) for key in utterances), default=np.nan)


def _by_duration(trials: Trials, origin: Origin) -> Iterator[Part]:
    """By the length of the test utterance, in seconds, or in frames where only these are known."""
    in_seconds = (origin.data / "utt2dur").exists()
    table = read_table(origin.data / ("utt2dur" if in_seconds else "utt2num_frames"), sorted_by_bytes=False)
    length = {key: _length(value, table.where(key)) for key, value in table.items()}
    edges, unit = (_SECONDS, "s") if in_seconds else (_FRAMES, "frames")
    names = [f"under {edges[0]:g} {unit}", *(f"{a:g} to {b:g} {unit}" for a, b in zip(edges, edges[1:])), f"{edges[-1]:g} {unit} and more"]
    of_test = np.array([length.get(key, np.nan) for key in trials.test_ids])
    return _bins(of_test[trials.test_index], edges, names, "unknown duration")


def _length(value: str, where: str) -> float:
    try:
        length = float(value)
    except ValueError:
        length = np.nan
    if not 0 <= length < np.inf:
        raise DataError(f"{plain(where)}: the length of an utterance must be a number, got {shown(value)}")
    return length


def _bins(values: np.ndarray, edges: Sequence[float], names: Sequence[str], unknown: str) -> Iterator[Part]:
    place = np.where(np.isnan(values), len(names), np.digitize(values, edges))
    for index in np.unique(place):
        yield [*names, unknown][index], place == index
