"""The embeddings that the trials of a list ask for: every trial has both, or is counted and named."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sv_toolkit.data.columns import repeated
from sv_toolkit.data.enrollment import Models
from sv_toolkit.data.trials import Trials
from sv_toolkit.embeddings.enrollment import enroll, only_known
from sv_toolkit.embeddings.loading import EmbeddingSet, read_embeddings, refuse_different_models
from sv_toolkit.errors import DataError, examples, plain
from sv_toolkit.io.tables import place

logger = logging.getLogger("sv_toolkit")


@dataclass(frozen=True)
class Lookup:
    """Trials that can be scored, with the rows of their two embeddings, and how many cannot.

    Attributes:
        trials: the scorable ones, in the order of the list.
        enroll_index, test_index: `(len(trials),)` rows of the two sets of embeddings.
        num_missing: trials left out.
    """

    trials: Trials
    enroll_index: np.ndarray
    test_index: np.ndarray
    num_missing: int


def load_sides(
    trials: Trials, enroll_scp: Path | None, test_scp: Path | None, models: Models | None, allow_missing: bool
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """The embeddings of both sides; those of the left averaged into `models` where these are given.

    Args:
        enroll_scp: default: that of the test side.
        test_scp: default: `dvector.scp` beside the trial list; where there is none, `enroll_scp`.
        allow_missing: leave utterances without embedding out of the models.

    Raises:
        SvError: embeddings are missing or damaged, or two models made them.
    """
    beside = trials.path.with_name("dvector.scp")
    if test_scp is None:
        test_scp = enroll_scp if enroll_scp is not None and not beside.exists() else beside
        if not test_scp.exists() and enroll_scp is None:
            raise DataError(f"{place(beside)}: no such file; say where the embeddings are: --test SCP, and --enroll SCP if they differ")
    right = read_embeddings(test_scp)
    left = right if enroll_scp is None or enroll_scp == test_scp else read_embeddings(enroll_scp)
    refuse_different_models(left, right)
    if models is None:
        return left, right
    if not allow_missing:
        _refuse_unmapped(trials, models)
    wanted: Models = {model: models[model] for model in trials.enroll_ids if model in models}
    made = enroll(left, only_known(left, wanted) if allow_missing else wanted)
    return EmbeddingSet(left.path, made.model_ids, made.embeddings, left.model), right


def _refuse_unmapped(trials: Trials, models: Models) -> None:
    """Stop where the map of models lacks some of the trial list."""
    missing = [place for place, model in enumerate(trials.enroll_ids) if model not in models]
    if missing:
        first = trials.enroll_ids[missing[0]]
        alike = [model for model in models if model.lower() == first.lower()]
        hint = f"; did you mean {plain(alike[0])}?" if alike else f"; it has {examples(sorted(models), 2)}"
        raise DataError(
            f"{trials.where_enroll(missing[0])}: the model {plain(first)} is not in the map of --enroll-spk2utt{hint} "
            f"{len(missing)} of {len(trials.enroll_ids)} models are missing: add them, or score the rest with --allow-missing"
        )


def find_embeddings(trials: Trials, left: EmbeddingSet, right: EmbeddingSet, allow_missing: bool = False) -> Lookup:
    """Look both sides of every trial up.

    Raises:
        DataError: an id has no embedding (unless `allow_missing`), with its line and the number of trials that fall
            away; or no trial at all can be scored.
    """
    enroll_rows, test_rows = left.rows(trials.enroll_ids), right.rows(trials.test_ids)
    enroll_index, test_index = enroll_rows[trials.enroll_index], test_rows[trials.test_index]
    is_missing = (enroll_index < 0) | (test_index < 0)
    num_missing = int(np.count_nonzero(is_missing))
    if num_missing == len(trials):
        raise DataError(_nothing_known(trials, left, right))
    if num_missing and not allow_missing:
        raise DataError(_first_missing(trials, left, right, is_missing, enroll_index))
    if num_missing:
        known = ~is_missing
        is_target = None if trials.is_target is None else trials.is_target[known]
        trials = replace(trials, enroll_index=trials.enroll_index[known], test_index=trials.test_index[known], is_target=is_target)
        enroll_index, test_index = enroll_index[known], test_index[known]
    return Lookup(trials, enroll_index, test_index, num_missing)


def _nothing_known(trials: Trials, left: EmbeddingSet, right: EmbeddingSet) -> str:
    if left.path == right.path:
        there = f"{place(left.path)} ({examples(list(left.ids), 2)})"
    else:
        there = f"{place(left.path)} ({examples(list(left.ids), 2)}) and {place(right.path)} ({examples(list(right.ids), 2)})"
    here = f"enroll {examples(trials.enroll_ids, 2)}; test {examples(trials.test_ids, 2)}"
    return (
        f"{place(trials.path)}: none of all {len(trials)} trials can be scored: its ids ({here}) are not those of {there};"
        " is it the list of other data, or are models to be enrolled first (--enroll-spk2utt)?"
    )


def _first_missing(trials: Trials, left: EmbeddingSet, right: EmbeddingSet, is_missing: np.ndarray, enroll_index: np.ndarray) -> str:
    first = int(np.argmax(is_missing))
    if enroll_index[first] < 0:
        what, where = f"the enroll id {plain(trials.enroll_ids[trials.enroll_index[first]])}", left.path
    else:
        what, where = f"the test id {plain(trials.test_ids[trials.test_index[first]])}", right.path
    count = int(np.count_nonzero(is_missing))
    return (
        f"{trials.where(first)}: {what} has no embedding in {place(where)}; {count} of {len(trials)} trials cannot be scored:"
        " extract what is missing, or score the rest with --allow-missing"
    )


def warn_of_repeats(trials: Trials, models: Models | None) -> None:
    """Say how many trials stand twice, or compare an utterance with itself."""
    again = len(repeated(trials.pair_codes))
    if again:
        logger.warning("%s: %d trials stand in an earlier line already; sv-eval refuses such a list", place(trials.path), again)
    same = count_self_trials(trials, models)
    if same:
        logger.warning("%s: %d trials compare an utterance with itself; their scores are no evidence", place(trials.path), same)


def count_self_trials(trials: Trials, utterances_of: Models | None) -> int:
    """Trials whose test utterance is the enrolled one, or one of the model's."""
    row = {key: index for index, key in enumerate(trials.test_ids)}
    pairs = [
        index * len(row) + row[utterance]
        for index, model in enumerate(trials.enroll_ids)
        for utterance in (utterances_of.get(model, ()) if utterances_of is not None else (model,))
        if utterance in row
    ]
    return int(np.count_nonzero(np.isin(trials.pair_codes, np.array(pairs, dtype=np.int64)))) if pairs else 0
