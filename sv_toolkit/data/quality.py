"""Quality measures of trials, which a calibration can hear beside the score: how long the two sides are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from sv_toolkit.data.enrollment import Models
from sv_toolkit.data.trials import Trials
from sv_toolkit.errors import DataError, examples, plain, shown
from sv_toolkit.io.tables import Table, place, read_table

MEASURES = {"utt2dur": "log_duration", "utt2num_frames": "log_num_frames"}


def log_lengths(trials: Trials, lengths: Table, measure: str, models: Models | None = None) -> dict[str, np.ndarray]:
    """Natural logarithm of the length of both sides of every trial.

    Args:
        lengths: utterance -> seconds or frames (`utt2dur`, `utt2num_frames`).
        measure: what the values are called, of `MEASURES`: "log_duration" or "log_num_frames".
        models: enrollment model -> utterances; a model is as long as they are together.

    Returns:
        `{measure}_enroll` and `{measure}_test`, each `(num_trials,)`.

    Raises:
        DataError: an utterance is missing in the table, or its length is no positive number.
    """
    known = {key: positive_length(lengths, key) for key in lengths}
    parts = [list(models.get(key, [key])) if models is not None else [key] for key in trials.enroll_ids]
    missing = [key for keys in [*parts, trials.test_ids] for key in keys if key not in known]
    if missing:
        raise DataError(
            f"{place(lengths.path)}: does not say the length of {examples(missing)} ({len(missing)} in all), of {place(trials.path)}"
        )
    enroll = np.log([sum(known[key] for key in keys) for keys in parts])
    test = np.log([known[key] for key in trials.test_ids])
    return {f"{measure}_enroll": enroll[trials.enroll_index], f"{measure}_test": test[trials.test_index]}


def seconds_of(trials: Trials, utt2dur: Path, models: Models | None = None) -> tuple[float, float] | None:
    """Shortest and longest utterance of the list; None where `utt2dur` is not there or does not say it of all of them."""
    if not utt2dur.is_file():
        return None
    durations = read_lengths(utt2dur)
    enroll = [key for model in trials.enroll_ids for key in (models or {}).get(model, [model])]
    ids = {*enroll, *trials.test_ids}
    if not ids <= durations.keys():
        return None
    known = [positive_length(durations, key) for key in ids]
    return min(known), max(known)


def read_lengths(path: Path) -> Table:
    """The table `utterance seconds` or `utterance frames` at `path`."""
    return read_table(path, sorted_by_bytes=False, max_fields=2, names="utterance length")


def positive_length(lengths: Table, key: str) -> float:
    """The length of an utterance in such a table.

    Raises:
        DataError: it is no positive number.
    """
    try:
        value = float(lengths[key]) if "_" not in lengths[key] else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise DataError(f"{lengths.where(key)}: the length of {plain(key)} must be a positive number, got {shown(lengths[key])}")
    return value
