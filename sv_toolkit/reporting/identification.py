"""Identification with the embeddings of a test set: accuracy among many candidates, as Deep Speaker measures it.

Li et al. 2017, section 4.1: for every utterance one candidate of its own speaker and 99 of others, drawn at random; ACC is how
often the own one scores highest, and the same scores give an EER.  With enrollment (section 5.1.5, table 8) the
candidates are models of a few utterances each, and the utterances that are left are tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit.errors import DataError, examples, plain
from sv_toolkit.io.archives import read_vectors
from sv_toolkit.io.tables import place, read_table
from sv_toolkit.metrics.detection import equal_error_rate
from sv_toolkit.metrics.identification import (
    anchor_trials,
    candidate_scores,
    detection_and_identification_rate,
    enrollment_trials,
    open_set_threshold,
    speaker_models,
    top_k_accuracy,
)


@dataclass(frozen=True)
class IdentificationSettings:
    """How the trials are drawn, and which rates are wanted.

    Attributes:
        num_candidates: own and others together; all speakers where there are fewer.
        num_enroll: utterances per model, one result each; none for single utterances as candidates.
        top_k: ACC counts the first place, these the first k.
        false_alarms: rates (fractions) of strangers accepted at which identification is measured.
    """

    num_candidates: int = 100
    num_enroll: tuple[int, ...] = ()
    top_k: tuple[int, ...] = ()
    false_alarms: tuple[float, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Identification:
    """Rates as fractions; `num_enroll` is None where the candidates are single utterances."""

    num_enroll: int | None
    accuracy: float
    eer: float
    top_k: dict[int, float]
    open_set: dict[float, float]
    num_anchors: int
    num_candidates: int
    num_speakers: int


def labelled_embeddings(scp: Path, utt2spk: Path) -> tuple[np.ndarray, np.ndarray]:
    """`(num_utterances, dim)` embeddings and the index of the speaker of each, in the order of `scp`.

    Raises:
        DataError: an embedding has no speaker or no direction (zero vector); or a file is damaged.
    """
    ids, vectors = read_vectors(scp)
    speaker_of = read_table(utt2spk, sorted_by_bytes=False, max_fields=2, names="utterance speaker")
    unknown = [key for key in ids if key not in speaker_of]
    if unknown:
        raise DataError(f"{place(utt2spk)}: does not say the speaker of {examples(unknown)} ({len(unknown)} in all)")
    if not vectors.any(axis=1).all():
        first = ids[int(np.argmin(vectors.any(axis=1)))]
        raise DataError(f"{plain(first)}: {place(scp)}: the vector is zero, its cosine is not defined; extract it again or drop it")
    return vectors, np.unique([speaker_of[key] for key in ids], return_inverse=True)[1]


def identify(vectors: np.ndarray, speaker_index: np.ndarray, settings: IdentificationSettings) -> list[Identification]:
    """One result per number of enrollment utterances, all on the same anchors and candidates; or the one without enrollment.

    Raises:
        DataError: too few speakers, or speakers of too few utterances.
    """
    rng = np.random.default_rng(settings.seed)
    try:
        if not settings.num_enroll:
            trials = anchor_trials(speaker_index, settings.num_candidates, rng)
            return [_rates(None, candidate_scores(vectors, vectors, trials), len(np.unique(speaker_index)), settings)]
        enrolled, trials = enrollment_trials(speaker_index, max(settings.num_enroll), settings.num_candidates, rng)
    except ValueError as error:
        raise DataError(str(error)) from None
    models = {count: speaker_models(vectors, enrolled[:, :count]) for count in dict.fromkeys(settings.num_enroll)}
    return [_rates(count, candidate_scores(vectors, mean, trials), len(enrolled), settings) for count, mean in models.items()]


def _rates(num_enroll: int | None, scores: np.ndarray, num_speakers: int, settings: IdentificationSettings) -> Identification:
    """The own speaker is in the first column; without that column every test utterance is a stranger to the others."""
    own = np.zeros(len(scores), dtype=np.int64)
    thresholds = {rate: open_set_threshold(scores[:, 1:], rate) for rate in settings.false_alarms}
    return Identification(
        num_enroll=num_enroll,
        accuracy=top_k_accuracy(scores, own),
        eer=equal_error_rate(scores[:, 0], scores[:, 1:].ravel()),
        top_k={k: top_k_accuracy(scores, own, k) for k in settings.top_k},
        open_set={rate: detection_and_identification_rate(scores, own, threshold) for rate, threshold in thresholds.items()},
        num_anchors=len(scores),
        num_candidates=scores.shape[1],
        num_speakers=num_speakers,
    )


def identification_lines(results: Sequence[Identification], settings: IdentificationSettings) -> list[str]:
    """The results for people: a line per number of enrollment utterances, then what they are of."""
    first = results[0]
    lines = [_line(found) for found in results]
    candidates = f"{first.num_candidates} candidates each"
    if first.num_candidates < settings.num_candidates:
        candidates += f" (all speakers: fewer than {settings.num_candidates})"
    trials = f"trials    {first.num_anchors} test utterances, {candidates}, {first.num_speakers} speakers, seed {settings.seed}"
    return [*lines, trials]


def _line(found: Identification) -> str:
    start = "" if found.num_enroll is None else f"{found.num_enroll} enrolled: "
    more = [f"top {k} {100 * rate:.2f} %" for k, rate in found.top_k.items()]
    more += [f"identified at FAR {100 * at:g} % {100 * rate:.2f} %" for at, rate in found.open_set.items()]
    return start + ", ".join([f"ACC {100 * found.accuracy:.2f} %", f"EER {100 * found.eer:.2f} %", *more])
