"""What a column of an experiment measures: an EER over scored trials, or how often the speaker is named right.

Both turn the file of one run into one array aligned between runs, so that seeds are averaged and systems compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from sv_toolkit.data.trials import Trials, read_scores, read_trials
from sv_toolkit.errors import DataError
from sv_toolkit.io.archives import read_scp
from sv_toolkit.io.tables import place
from sv_toolkit.metrics.detection import eer_of_curve, equal_error_rate
from sv_toolkit.metrics.identification import anchor_trials, candidate_scores, enrollment_trials, first_shares, speaker_models
from sv_toolkit.metrics.intervals import Difference, Interval, compare_rates, compare_systems, rate_bootstrap, speaker_bootstrap
from sv_toolkit.reporting.conditions import Origin, TrialSpeakers
from sv_toolkit.reporting.experiments import EER, Column, Folders
from sv_toolkit.reporting.identification import labelled_embeddings
from sv_toolkit.reporting.results import both_kinds, no_resampling

STATISTICS = {"EER": eer_of_curve}


class Measure(Protocol):
    """How the runs of one column are read, measured and compared; `values` are `(num_items,)`, stacked `(num_seeds, num_items)`."""

    no_interval: str

    def read(self, path: Path) -> np.ndarray:
        """The values of one run."""

    def rate(self, values: np.ndarray) -> float:
        """The number of one run, a fraction."""

    def interval(self, values: np.ndarray, num_replicates: int, seed: int) -> Interval:
        """95 % interval of the mean over the seeds."""

    def difference(self, first: np.ndarray, second: np.ndarray, num_replicates: int, seed: int) -> Difference:
        """Of the means over the seeds of two systems."""

    def described(self) -> str:
        """The trials, their hash, the speakers."""


def read_measure(column: Column, folders: Folders, seed: int) -> Measure:
    """The measure of a column with the lists and maps that it needs; `seed` draws the candidates of accuracies.

    Raises:
        DataError: a list or map is missing or damaged, or the speakers contradict the labels.
    """
    if column.kind != EER:
        return AccuracyMeasure(column, folders.data / column.utt2spk, seed)
    trials = read_trials(folders.data / column.trials, need_keys=True)
    both_kinds(trials)
    speakers, missing = Origin.find(trials.path, folders.of_data(column.data), folders.of_data(column.enroll_spk2utt)).speakers(trials)
    return EerMeasure(trials, speakers, missing or (no_resampling(trials, speakers) if speakers else ""))


@dataclass
class EerMeasure:
    """The EER of scores on one trial list."""

    trials: Trials
    speakers: TrialSpeakers | None
    no_interval: str = ""

    def read(self, path: Path) -> np.ndarray:
        """Scores in the order of the trials."""
        return read_scores(path, self.trials)

    def rate(self, values: np.ndarray) -> float:
        """EER of one run."""
        is_target = both_kinds(self.trials)
        return equal_error_rate(values[is_target], values[~is_target])

    def interval(self, values: np.ndarray, num_replicates: int, seed: int) -> Interval:
        """Speakers resampled."""
        return speaker_bootstrap(values, *self._sides(), STATISTICS, num_replicates, seed)["EER"]

    def difference(self, first: np.ndarray, second: np.ndarray, num_replicates: int, seed: int) -> Difference:
        """Speakers resampled for both systems at once."""
        return compare_systems(first, second, *self._sides(), STATISTICS, num_replicates, seed)["EER"]

    def _sides(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.speakers is None:
            raise ValueError("without speakers there is no interval")
        return both_kinds(self.trials), self.speakers.enroll, self.speakers.test

    def described(self) -> str:
        """`944 target / 168709 nontarget, list 4301b6749d9e, 188 speakers`."""
        trials, speakers = self.trials, "" if self.speakers is None else f", {self.speakers.num_speakers} speakers"
        return f"{trials.num_targets} target / {len(trials) - trials.num_targets} nontarget, list {trials.short_hash}{speakers}"


@dataclass
class AccuracyMeasure:
    """How often the speaker is named right among many by the cosine (Li et al. 2017, section 4.1); the same tests for every run."""

    column: Column
    utt2spk: Path
    seed: int
    no_interval: str = ""
    ids: Sequence[str] = ()
    speaker_of_test: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def read(self, path: Path) -> np.ndarray:
        """How right each test is, from 0 to 1."""
        ids = list(read_scp(path))
        if self.ids and ids != self.ids:
            raise DataError(f"{place(path)}: lists {len(ids)} embeddings that are not those of the other runs; the tests would differ")
        vectors, speaker_index = labelled_embeddings(path, self.utt2spk)
        shares, self.speaker_of_test = self._answers(vectors, speaker_index)
        self.ids = ids
        if len(np.unique(self.speaker_of_test)) < 3:
            self.no_interval = f"only {len(np.unique(self.speaker_of_test))} speakers are tested"
        return shares

    def _answers(self, vectors: np.ndarray, speaker_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rng, num_enroll, num_candidates = np.random.default_rng(self.seed), self.column.num_enroll, self.column.num_candidates
        candidates = vectors
        try:
            if num_enroll:
                enrolled, trials = enrollment_trials(speaker_index, num_enroll, num_candidates, rng)
                candidates = speaker_models(vectors, enrolled)
            else:
                trials = anchor_trials(speaker_index, num_candidates, rng)
        except ValueError as error:
            raise DataError(f"{place(self.utt2spk)}: {error}") from None
        scores = candidate_scores(vectors, candidates, trials)
        return first_shares(scores, np.zeros(len(scores), dtype=np.int64)), speaker_index[trials.anchors]

    def rate(self, values: np.ndarray) -> float:
        """Accuracy of one run."""
        return float(values.mean())

    def interval(self, values: np.ndarray, num_replicates: int, seed: int) -> Interval:
        """Speakers of the tests resampled."""
        return rate_bootstrap(values, self.speaker_of_test, num_replicates, seed)[1]

    def difference(self, first: np.ndarray, second: np.ndarray, num_replicates: int, seed: int) -> Difference:
        """Speakers of the tests resampled for both systems at once."""
        return compare_rates(first, second, self.speaker_of_test, num_replicates, seed)

    def described(self) -> str:
        """`320 tests, up to 100 candidates each, 32 speakers, seed 0`."""
        tests = f"{len(self.speaker_of_test)} tests, up to {self.column.num_candidates} candidates each"
        return f"{tests}, {len(np.unique(self.speaker_of_test))} speakers tested, seed {self.seed}"
