"""Who and what stands on the two sides of a trial: speakers for intervals, conditions for a breakdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit.data.enrollment import Models, read_enrollment
from sv_toolkit.data.forms import parse_values, refuse
from sv_toolkit.data.trials import Trials
from sv_toolkit.errors import DataError, examples, plain
from sv_toolkit.io.tables import Table, place, read_table

CONDITIONS = {"keyword": "utt2keyword", "session": "utt2session", "device": "utt2device", "days": "utt2date", "gender": "spk2gender"}
DAY_LIMITS = (7, 30, 90)  # days: a week, a month, three months, as in table 11 of Li et al. 2017 (Deep Speaker)
DAY_SPANS = ("under 1 week", "1 week to 1 month", "1 to 3 months", "3 months or more", "unknown days")
MIXED = "more than one"  # what a model of differing utterances has; no id holds a space


@dataclass(frozen=True)
class TrialSpeakers:
    """Speaker of each side of every trial, `(num_trials,)`, as indices of one numbering."""

    enroll: np.ndarray
    test: np.ndarray

    @property
    def num_speakers(self) -> int:
        """How many occur."""
        return len(np.union1d(self.enroll, self.test))

    def of(self, chosen: np.ndarray) -> TrialSpeakers:
        """Those of the trials under the mask."""
        return TrialSpeakers(self.enroll[chosen], self.test[chosen])


class UnknownSpeakerError(DataError):
    """An id whose speaker is not said anywhere."""


@dataclass(frozen=True)
class Origin:
    """What is known about the utterances of a trial list, beside the list: where the maps lie, speakers, models."""

    data: Path
    utt2spk: Table | None
    models: Models | None

    @classmethod
    def find(cls, trials: Path, data: Path | None, enroll_spk2utt: Path | None) -> Origin:
        """The maps of the directory `data`; by default of the one that `trials` lies in, where `utt2spk` may be missing.

        Raises:
            DataError: a map is damaged, or `utt2spk` is not in the directory that was given.
        """
        folder = trials.parent if data is None else data
        path = folder / "utt2spk"
        utt2spk = read_table(path, sorted_by_bytes=False, max_fields=2, names="utterance speaker") if data or path.exists() else None
        return cls(folder, utt2spk, None if enroll_spk2utt is None else read_enrollment(enroll_spk2utt))

    def speakers(self, trials: Trials) -> tuple[TrialSpeakers | None, str]:
        """The speakers of all trials, or None and the reason why they are not known.

        Raises:
            DataError: the speakers contradict the labels.
        """
        if self.utt2spk is None:
            return None, "no utt2spk beside the trial list says the speakers; give --data DIR"
        try:
            return trial_speakers(trials, self.utt2spk, self.models), ""
        except UnknownSpeakerError as error:
            return None, str(error)


def trial_speakers(trials: Trials, utt2spk: Table, models: Models | None) -> TrialSpeakers:
    """The speakers of all trials.

    An enroll id is a model of `models`, an utterance, or the name of a speaker.

    Raises:
        UnknownSpeakerError: an id without speaker.
        DataError: a model of several speakers; a target trial of two speakers.
    """
    enroll = _enroll_values(trials.enroll_ids, utt2spk, models)
    names = set(utt2spk.values())
    enroll = [key if value is None and key in names else value for key, value in zip(trials.enroll_ids, enroll)]
    test = [utt2spk.get(key) for key in trials.test_ids]
    unknown = [key for key, value in zip([*trials.enroll_ids, *trials.test_ids], [*enroll, *test]) if value is None]
    if unknown:
        raise UnknownSpeakerError(f"{place(utt2spk.path)}: does not say the speaker of {examples(unknown)} ({len(unknown)} in all)")
    if MIXED in enroll:
        raise DataError(
            f"the model {plain(trials.enroll_ids[enroll.index(MIXED)])} has utterances of several speakers ({place(utt2spk.path)})"
        )
    number = {name: index for index, name in enumerate(sorted({str(name) for name in [*enroll, *test]}))}
    speakers = TrialSpeakers(_indexed(enroll, number)[trials.enroll_index], _indexed(test, number)[trials.test_index])
    _refuse_targets_of_two(trials, speakers, sorted(number))
    return speakers


def _indexed(values: Sequence[str | None], number: Mapping[str, int]) -> np.ndarray:
    return np.array([number[str(value)] for value in values], dtype=np.int64)


def _refuse_targets_of_two(trials: Trials, speakers: TrialSpeakers, names: list[str]) -> None:
    if trials.is_target is None:
        return
    wrong = trials.is_target & (speakers.enroll != speakers.test)
    if wrong.any():
        first = int(np.argmax(wrong))
        pair = f"{plain(names[speakers.enroll[first]])} and {plain(names[speakers.test[first]])}"
        raise DataError(
            f"{trials.where(first)}: labelled target, but the speakers are {pair} ({int(wrong.sum())} such trials);"
            " the list or utt2spk is wrong"
        )


def _enroll_values(ids: Sequence[str], table: Mapping[str, str], models: Models | None) -> list[str | None]:
    """What `table` says of each enroll id: by its utterances where it is a model, `MIXED` where they disagree."""
    values: list[str | None] = []
    for key in ids:
        found = {table.get(utterance) for utterance in models[key]} if models is not None and key in models else {table.get(key)}
        values.append(found.pop() if len(found) == 1 else None if None in found else MIXED)
    return values


def split_by(trials: Trials, condition: str, origin: Origin) -> Iterator[tuple[str, np.ndarray]]:
    """Names of the conditions and `(num_trials,)` masks, sorted by name; trials of unknown condition come as such.

    For a keyword, a session or a device: the same on both sides, or different; for the gender: the pair of both sides;
    for days: how long before or after the last enrollment utterance of the model the test was (`DAY_LIMITS`), the
    shortest first.

    Raises:
        DataError: the map (see `CONDITIONS`) is missing or damaged.
    """
    table = read_table(origin.data / CONDITIONS[condition], sorted_by_bytes=False)
    if condition == "days":
        names, of_trial = _day_spans(table, trials, origin.models)
    else:
        value_of = _by_utterance(table, origin) if condition == "gender" else table
        enroll, test = _enroll_values(trials.enroll_ids, value_of, origin.models), [value_of.get(key) for key in trials.test_ids]
        names, of_trial = _condition_names(condition, enroll, test, trials)
    for index in np.unique(of_trial):
        yield names[index], of_trial == index


def _day_spans(utt2date: Table, trials: Trials, models: Models | None) -> tuple[Sequence[str], np.ndarray]:
    days, problems = parse_values(utt2date)
    refuse(problems)
    if len({"-" in value for value in utt2date.values()}) > 1:
        raise DataError(f"{place(utt2date.path)}: holds dates and day numbers; the days between them are unknown, use one kind")
    of_model = models if models is not None else {}
    dates = [[days.get(key, np.nan) for key in of_model.get(model, (model,))] for model in trials.enroll_ids]
    enroll = np.array([max(known) if not np.isnan(known).any() else np.nan for known in dates])
    test = np.array([days.get(key, np.nan) for key in trials.test_ids])
    between = np.abs(enroll[trials.enroll_index] - test[trials.test_index])
    return DAY_SPANS, np.where(np.isnan(between), len(DAY_LIMITS) + 1, np.searchsorted(DAY_LIMITS, between, side="right"))


def _by_utterance(spk2gender: Mapping[str, str], origin: Origin) -> dict[str, str]:
    if origin.utt2spk is None:
        raise DataError(f"{place(origin.data / 'utt2spk')}: no such file; --by gender needs the speakers of the utterances")
    by_utterance = {key: spk2gender[speaker] for key, speaker in origin.utt2spk.items() if speaker in spk2gender}
    return {**spk2gender, **by_utterance}  # an enroll id may be a speaker


def _condition_names(
    condition: str, enroll: Sequence[str | None], test: Sequence[str | None], trials: Trials
) -> tuple[list[str], np.ndarray]:
    values = sorted({value for value in [*enroll, *test] if value is not None})
    number: dict[str | None, int] = {None: -1, **{value: index for index, value in enumerate(values)}}
    left = np.array([number[value] for value in enroll])[trials.enroll_index]
    right = np.array([number[value] for value in test])[trials.test_index]
    unknown = (left < 0) | (right < 0)
    if condition != "gender":
        names = [f"different {condition}", f"same {condition}", f"unknown {condition}"]
        return names, np.where(unknown, 2, left == right)
    low, high = np.minimum(left, right), np.maximum(left, right)
    names = [f"{condition} {one}-{other}" for one in values for other in values] + [f"unknown {condition}"]
    return names, np.where(unknown, len(names) - 1, low * len(values) + high)
