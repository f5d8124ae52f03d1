"""Who of many is it: closed-set accuracy, open-set rates, and the anchor trials of Deep Speaker.

A score matrix has a row per test utterance and a column per model; a larger score means more alike.  Where the
true model shares its score with others, one of them is picked at random, and the rates are what that gives on
average: a system that scores everything alike names the right one of a hundred in 1 % of the cases, not in all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

ROWS_AT_ONCE = 1 << 22  # numbers of gathered candidates held at a time


def top_k_accuracy(scores: np.ndarray, true_index: np.ndarray, k: int = 1) -> float:
    """Share of test utterances whose true model is among the k best; k = 1 is the closed-set accuracy.

    Args:
        scores: `(num_tests, num_models)`, finite.
        true_index: `(num_tests,)`, column of the true model.

    >>> top_k_accuracy(np.array([[3.0, 1.0], [5.0, 2.0]]), np.array([0, 1]))
    0.5
    >>> top_k_accuracy(np.zeros((1, 4)), np.array([2]), k=1)  # nothing to tell them apart
    0.25
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return float(_shares_within(_checked_matrix(scores, true_index), true_index, k).mean())


def first_shares(scores: np.ndarray, true_index: np.ndarray) -> np.ndarray:
    """Chance of each test utterance that its true model comes first, `(num_tests,)`: 1 or 0, between them for ties.

    Their mean is the closed-set accuracy; the arguments are those of `top_k_accuracy`.
    """
    return _shares_within(_checked_matrix(scores, true_index), true_index, 1)


def detection_and_identification_rate(scores: np.ndarray, true_index: np.ndarray, threshold: float, k: int = 1) -> float:
    """Share of test utterances of enrolled speakers whose true model is among the k best and scores at or over the threshold.

    With k = 1 and a threshold under every score this is the closed-set accuracy (Phillips, Grother and Micheals 2011).
    """
    scores = _checked_matrix(scores, true_index)
    own = scores[np.arange(len(scores)), true_index]
    return float(np.mean(_shares_within(scores, true_index, k) * (own >= threshold)))


def open_set_false_alarm_rate(stranger_scores: np.ndarray, threshold: float) -> float:
    """Share of test utterances of speakers without a model whose best score reaches the threshold.

    Args:
        stranger_scores: `(num_strangers, num_models)`, finite.
    """
    return float(np.mean(_checked_matrix(stranger_scores).max(axis=1) >= threshold))


def open_set_threshold(stranger_scores: np.ndarray, false_alarm: float) -> float:
    """The lowest threshold, among the best scores of strangers and infinity, that keeps their false alarms at or under a rate."""
    if not 0 <= false_alarm <= 1:
        raise ValueError(f"a false-alarm rate lies in [0, 1], got {false_alarm}")
    best = np.sort(_checked_matrix(stranger_scores).max(axis=1))
    thresholds = np.append(np.unique(best), math.inf)
    false_alarms = (len(best) - np.searchsorted(best, thresholds)) / len(best)
    return float(thresholds[np.argmax(false_alarms <= false_alarm)])


def _shares_within(scores: np.ndarray, true_index: np.ndarray, k: int) -> np.ndarray:
    """Chance of each test utterance that its true model comes among the first k, ties broken at random: `(num_tests,)`."""
    own = scores[np.arange(len(scores)), true_index][:, None]
    higher, as_high = np.count_nonzero(scores > own, axis=1), np.count_nonzero(scores == own, axis=1)
    return np.clip((k - higher) / as_high, 0.0, 1.0)


def _checked_matrix(scores: np.ndarray, true_index: np.ndarray | None = None) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.ndim != 2 or 0 in scores.shape:
        raise ValueError(f"scores must be (num_tests, num_models), neither of them 0, got shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    if true_index is not None and not (len(true_index) == len(scores) and np.all((true_index >= 0) & (true_index < scores.shape[1]))):
        raise ValueError(f"true_index must hold a column from 0 to {scores.shape[1] - 1} for each of {len(scores)} test utterances")
    return scores


@dataclass(frozen=True)
class AnchorTrials:
    """Trials of anchor utterances against candidates, the first of which is of the anchor's own speaker.

    Attributes:
        anchors: `(num_anchors,)`, rows of the embeddings.
        candidates: `(num_anchors, num_candidates)`: rows of the embeddings, or of the enrollment models.
    """

    anchors: np.ndarray
    candidates: np.ndarray


def anchor_trials(speaker_index: np.ndarray, num_candidates: int, rng: np.random.Generator) -> AnchorTrials:
    """One positive and `num_candidates - 1` negatives drawn at random for every utterance: Li et al. 2017 (Deep Speaker), section 4.1.

    The positive is another utterance of the speaker, every one equally likely; the negatives are one utterance each of
    different other speakers.  Where there are fewer speakers, all others are negatives.  Speakers with a single utterance
    have no positive: they are negatives only.

    Args:
        speaker_index: `(num_utterances,)`, any integers.

    Raises:
        ValueError: fewer than two speakers, or none with two utterances.
    """
    speakers, speaker = np.unique(speaker_index, return_inverse=True)
    counts = np.bincount(speaker)
    _refuse_too_few(len(speakers), num_candidates)
    if counts.max() < 2:
        raise ValueError("no speaker has two utterances: there is no positive trial")
    by_speaker, starts = np.argsort(speaker, kind="stable"), np.cumsum(counts) - counts
    place = np.empty(len(speaker), dtype=np.int64)  # of an utterance among those of its speaker
    place[by_speaker] = np.arange(len(speaker)) - np.repeat(starts, counts)
    anchors = np.flatnonzero(counts[speaker] > 1)
    own = speaker[anchors]
    other_place = rng.integers(counts[own] - 1)
    other_place += other_place >= place[anchors]
    negatives = _other_speakers(own, len(speakers), num_candidates, rng)
    rows = np.column_stack([starts[own] + other_place, starts[negatives] + rng.integers(counts[negatives])])
    return AnchorTrials(anchors, by_speaker[rows])


def enrollment_trials(
    speaker_index: np.ndarray, most_enrolled: int, num_candidates: int, rng: np.random.Generator
) -> tuple[np.ndarray, AnchorTrials]:
    """The same with enrolled speakers: Li et al. 2017, section 5.1.5.

    `most_enrolled` utterances of every speaker are kept for enrollment; all others are anchors, against the
    model of their speaker and those of different other speakers.  A model of fewer utterances takes the first ones
    of its row, so that the anchors and their negatives are the same for every number of enrollment utterances.

    Returns:
        `(num_models, most_enrolled)` rows of the embeddings, and trials whose candidates are models.  Speakers with
        fewer utterances have no model; those with no more are negatives only.

    Raises:
        ValueError: fewer than two speakers have a model, or no utterance is left to be an anchor.
    """
    if most_enrolled < 1:
        raise ValueError(f"enrollment takes at least 1 utterance, got {most_enrolled}")
    speaker_index = np.asarray(speaker_index)
    shuffled = rng.permutation(len(speaker_index))
    by_speaker = shuffled[np.argsort(speaker_index[shuffled], kind="stable")]
    starts = np.append(0, np.flatnonzero(np.diff(speaker_index[by_speaker])) + 1)
    parts = [part for part in np.split(by_speaker, starts[1:]) if len(part) >= most_enrolled]
    _refuse_too_few(len(parts), num_candidates)
    enrolled = np.array([part[:most_enrolled] for part in parts])
    own = np.repeat(np.arange(len(parts)), [len(part) - most_enrolled for part in parts])
    if len(own) == 0:
        raise ValueError(f"no speaker has more than {most_enrolled} utterances: none is left to test")
    negatives = _other_speakers(own, len(parts), num_candidates, rng)
    return enrolled, AnchorTrials(np.concatenate([part[most_enrolled:] for part in parts]), np.column_stack([own, negatives]))


def _refuse_too_few(num_speakers: int, num_candidates: int) -> None:
    if num_candidates < 2:
        raise ValueError(f"a choice needs at least 2 candidates, got {num_candidates}")
    if num_speakers < 2:
        raise ValueError("identification needs at least two speakers with enough utterances")


def _other_speakers(own: np.ndarray, num_speakers: int, num_candidates: int, rng: np.random.Generator) -> np.ndarray:
    """Different speakers that are not `own`, without replacement: `(len(own), num_candidates - 1 or all others)`."""
    wanted = min(num_candidates, num_speakers) - 1
    drawn = np.array([rng.choice(num_speakers - 1, wanted, replace=False, shuffle=False) for _ in own])
    return drawn + (drawn >= own[:, None])


def speaker_models(embeddings: np.ndarray, enrolled: np.ndarray) -> np.ndarray:
    """Mean of the length-normalised embeddings of each model (Wan et al. 2018, eq. 1): `(num_models, dim)`, not of unit length.

    Args:
        embeddings: `(num_utterances, dim)`.
        enrolled: `(num_models, num_enrolled)`, rows of the embeddings.
    """
    return _unit(embeddings)[enrolled].mean(axis=1)


def candidate_scores(embeddings: np.ndarray, candidates: np.ndarray, trials: AnchorTrials) -> np.ndarray:
    """Cosine of every anchor with its candidates, `(num_anchors, num_candidates)` float64; the first column is the speaker's own.

    Args:
        embeddings: `(num_utterances, dim)`, of which the anchors are rows.
        candidates: `(num_rows, dim)`, of which the candidates are rows: the embeddings again, or `speaker_models`.
    """
    anchors, others = _unit(embeddings), _unit(candidates)
    rows = max(1, ROWS_AT_ONCE // (trials.candidates.shape[1] * anchors.shape[1]))
    parts = [slice(start, start + rows) for start in range(0, len(trials.anchors), rows)]
    return np.concatenate([np.einsum("ad,acd->ac", anchors[trials.anchors[part]], others[trials.candidates[part]]) for part in parts])


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
