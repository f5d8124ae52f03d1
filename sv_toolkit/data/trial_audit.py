"""What is wrong with a trial list, measured against the data it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sv_toolkit.data.columns import repeated
from sv_toolkit.data.consistency import overlap_problems
from sv_toolkit.data.trials import Trials
from sv_toolkit.errors import Problem, examples, plain
from sv_toolkit.io.tables import place


@dataclass(frozen=True)
class Audit:
    """Findings, the counts that a result should be read with, and notes: what is no fault, but should be known."""

    problems: list[Problem]
    counts: dict[str, int]
    notes: list[Problem] = field(default_factory=list)


def audit(
    trials: Trials,
    utt2spk: Mapping[str, str] | None = None,
    train_utt2spk: Mapping[str, str] | None = None,
    models: Mapping[str, list[str]] | None = None,
) -> Audit:
    """Unknown ids, duplicates, self-trials, pairs in both orders, wrong labels, and what training has seen.

    Args:
        utt2spk: speakers of the utterances; without it ids and labels cannot be checked.
        train_utt2spk: the same of the training data.
        models: enrollment model -> utterances; without it the left side names utterances, too.
    """
    problems = _duplicates(trials) + _self_trials(trials, models)
    counts = {"trials": len(trials), "enroll ids": len(trials.enroll_ids), "test ids": len(trials.test_ids)}
    if trials.is_target is not None:
        counts |= {"target": trials.num_targets, "nontarget": len(trials) - trials.num_targets}
    if utt2spk is not None:
        enroll_speakers, found = _enroll_speakers(trials, utt2spk, models)
        test_speakers = [utt2spk.get(key) for key in trials.test_ids]
        problems += found + _unknown_tests(trials, test_speakers) + _wrong_labels(trials, enroll_speakers, test_speakers)
        speakers = {speaker for speaker in [*enroll_speakers, *test_speakers] if speaker is not None}
        counts["speakers"] = len(speakers)
        if train_utt2spk is not None:
            problems += _shared("speakers", speakers, set(train_utt2spk.values()), trials)
    if train_utt2spk is not None:
        used = set(trials.test_ids) | (set(trials.enroll_ids) if models is None else {key for keys in models.values() for key in keys})
        problems += _shared("utterances", used, set(train_utt2spk), trials)
    return Audit(problems, counts, _both_orders(trials))


def _first(trials: Trials, positions: np.ndarray, what: str, fix: str) -> list[Problem]:
    """One finding for all the trials at `positions`, at the place of the first."""
    if not len(positions):
        return []
    return [Problem(trials.where(int(positions[0])), f"{what}: {len(positions)}, the first: {trials.pair(int(positions[0]))}", fix)]


def _duplicates(trials: Trials) -> list[Problem]:
    return _first(trials, repeated(trials.pair_codes), "duplicates of earlier pairs", "delete them: they would be counted twice")


def _self_trials(trials: Trials, models: Mapping[str, list[str]] | None) -> list[Problem]:
    test_place = {key: i for i, key in enumerate(trials.test_ids)}
    width = len(trials.test_ids)
    own = [
        i * width + test_place[key]
        for i, name in enumerate(trials.enroll_ids)
        for key in (models.get(name, []) if models is not None else [name])
        if key in test_place
    ]
    positions = np.flatnonzero(np.isin(trials.pair_codes, own))
    return _first(trials, positions, "self-trials, an utterance against itself", "delete them: their score is no evidence")


def _both_orders(trials: Trials) -> list[Problem]:
    """Pairs (a, b) of which (b, a) stands in an earlier line."""
    ids = {key: i for i, key in enumerate(sorted({*trials.enroll_ids, *trials.test_ids}))}
    first = np.array([ids[key] for key in trials.enroll_ids], np.int64)[trials.enroll_index]
    second = np.array([ids[key] for key in trials.test_ids], np.int64)[trials.test_index]
    unordered = np.minimum(first, second) * len(ids) + np.maximum(first, second)
    again = np.setdiff1d(repeated(unordered), repeated(trials.pair_codes))
    return _first(trials, again, "earlier pairs in the other order", "their scores count twice; published lists hold such pairs")


def _enroll_speakers(
    trials: Trials, utt2spk: Mapping[str, str], models: Mapping[str, list[str]] | None
) -> tuple[list[str | None], list[Problem]]:
    """Speakers of the enrollment ids (None where unknown), and what is wrong with these ids."""
    speakers: list[str | None] = []
    unknown, mixed = [], []
    for name in trials.enroll_ids:
        keys = [name] if models is None else models.get(name, [])
        of_model = {utt2spk.get(key) for key in keys}
        speakers.append(of_model.pop() if len(of_model) == 1 else None)
        if of_model:
            mixed.append(name)
        elif speakers[-1] is None:
            unknown.append(name)
    problems = []
    if unknown:
        where = trials.where_enroll(trials.enroll_ids.index(unknown[0]))
        what = f"{len(unknown)} of {len(trials.enroll_ids)} enrollment ids are unknown: {examples(unknown)}"
        problems.append(Problem(where, what, "is this the data directory (or the --enroll-spk2utt) of this list?"))
    if mixed:
        where = trials.where_enroll(trials.enroll_ids.index(mixed[0]))
        problems.append(
            Problem(where, f"{len(mixed)} enrollment models hold more than one speaker: {examples(mixed)}", "correct the spk2utt map")
        )
    return speakers, problems


def _unknown_tests(trials: Trials, speakers: list[str | None]) -> list[Problem]:
    unknown = [i for i, speaker in enumerate(speakers) if speaker is None]
    if not unknown:
        return []
    names = [trials.test_ids[i] for i in unknown]
    what = f"{len(unknown)} of {len(speakers)} test ids are unknown: {examples(names)}"
    return [Problem(trials.where_test(unknown[0]), what, "is this the data directory of this list?")]


def _wrong_labels(trials: Trials, enroll_speakers: list[str | None], test_speakers: list[str | None]) -> list[Problem]:
    if trials.is_target is None:
        return []
    numbers = {speaker: i for i, speaker in enumerate(sorted({key for key in [*enroll_speakers, *test_speakers] if key is not None}))}
    enroll = np.array([numbers[key] if key is not None else -1 for key in enroll_speakers])[trials.enroll_index]
    test = np.array([numbers[key] if key is not None else -1 for key in test_speakers])[trials.test_index]
    wrong = np.flatnonzero((enroll >= 0) & (test >= 0) & ((enroll == test) != trials.is_target))
    return _first(trials, wrong, "labels that contradict utt2spk", "make the list anew with sv-make-trials")


def _shared(kind: str, used: set[str], trained: set[str], trials: Trials) -> list[Problem]:
    fix = "train without them: the scores would be optimistic"
    return overlap_problems(place(trials.path), used, trained, f"{kind} are in the training data", fix)


def describe(trials: Trials, counts: Mapping[str, int]) -> str:
    """One line: the counts and the hash that result lines repeat."""
    parts = [f"{count} {plain(name)}" for name, count in counts.items()]
    return f"{place(trials.path)}: {', '.join(parts)}, hash {trials.short_hash}"
