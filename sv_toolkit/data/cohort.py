"""Whether a cohort for score normalisation is disjoint from the trials, as it has to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from sv_toolkit.data.consistency import overlap_problems
from sv_toolkit.data.enrollment import Models
from sv_toolkit.data.trials import Trials
from sv_toolkit.errors import DataError, Problem, examples, plain
from sv_toolkit.io.tables import Table, place


def cohort_speakers(utt2spk: Table, utterances: Collection[str]) -> dict[str, list[str]]:
    """Speaker -> those of the cohort's utterances that are theirs.

    Raises:
        DataError: an utterance of the cohort has no speaker.
    """
    missing = [key for key in utterances if key not in utt2spk]
    if missing:
        raise DataError(f"{place(utt2spk.path)}: does not say the speaker of {examples(missing)} ({len(missing)} of the cohort)")
    utterances_of: dict[str, list[str]] = {}
    for key in utterances:
        utterances_of.setdefault(utt2spk[key], []).append(key)
    return {speaker: utterances_of[speaker] for speaker in sorted(utterances_of)}


def shared_with_trials(
    trials: Trials,
    models: Models | None,
    cohort: Path,
    cohort_utterances: Collection[str],
    cohort_utt2spk: Mapping[str, str] | None = None,
    utt2spk: Mapping[str, str] | None = None,
) -> list[Problem]:
    """Utterances and speakers that stand both in the cohort and in the trials: their scores are no strangers' scores.

    Args:
        models: enrollment model -> utterances; without it the left side names utterances.
        cohort: the file, for messages.
        cohort_utt2spk, utt2spk: speakers of the cohort and of the trials; without both only utterances are compared.
    """
    enrolled = [key for name in trials.enroll_ids for key in ([name] if models is None else models.get(name, [name]))]
    used = {*enrolled, *trials.test_ids}
    problems = _shared("utterances", used, set(cohort_utterances), cohort)
    if cohort_utt2spk is not None and utt2spk is not None:
        speakers = {utt2spk[key] for key in used if key in utt2spk}
        problems += _shared("speakers", speakers, {cohort_utt2spk[key] for key in cohort_utterances if key in cohort_utt2spk}, cohort)
    return problems


def _shared(kind: str, used: set[str], cohort: set[str], where: Path) -> list[Problem]:
    fix = "a cohort is of other speakers: their targets would be normalised away"
    return overlap_problems(plain(where), cohort, used, f"{kind} of the cohort are in the trials", fix)
