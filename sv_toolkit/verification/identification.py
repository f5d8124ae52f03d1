"""Who of the enrolled is it, or nobody: open-set identification over a speaker store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sv_toolkit.backends.cosine import length_normalize
from sv_toolkit.backends.logistic import logit
from sv_toolkit.embeddings.waveform import Embedded
from sv_toolkit.errors import DataError, plain
from sv_toolkit.verification.decision import Judge, lengths, shared_threshold
from sv_toolkit.verification.store import SpeakerStore


@dataclass(frozen=True)
class Candidate:
    """An enrolled speaker: cosine, natural log-likelihood ratio and posterior (None without a calibration)."""

    speaker: str
    score: float
    llr: float | None = None
    posterior: float | None = None


@dataclass(frozen=True)
class Identification:
    """Who it may be, and who it is taken for.

    Attributes:
        candidates: the enrolled, the best first; equal scores in the order of their ids.
        is_decided: False without calibration and threshold: then nobody is named.
        speaker: who is named; None for nobody, or where nothing is decided.
        threshold: the best is named from here on, of the llr or (`is_cosine`) of the score.
        prior: probability that it is one of the enrolled.
        nobody: posterior probability that it is none of them.
        miss_rate: of one enrolled speaker's own model at the threshold, on the calibration's list.
        false_alarm_bound: for somebody unknown to be named: num_speakers times the false-alarm rate of one, at most 1.
    """

    candidates: list[Candidate]
    is_decided: bool = False
    speaker: str | None = None
    threshold: float | None = None
    is_cosine: bool = False
    prior: float | None = None
    nobody: float | None = None
    miss_rate: float | None = None
    false_alarm_bound: float | None = None


def identify(store: SpeakerStore, test: Embedded, judge: Judge) -> Identification:
    """Compare a recording with all speakers of the store.

    The posteriors are those of num_speakers + 1 possibilities: each speaker with prior / num_speakers, and somebody else
    with 1 - prior.  The best is named if its log-likelihood ratio reaches `shared_threshold`.

    Raises:
        DataError: nobody is enrolled.
    """
    if not store.speakers:
        raise DataError(f"{plain(store.path)}: nobody is enrolled; sv-enroll --store {plain(store.path)} adds speakers")
    scores = np.clip(length_normalize(store.means).astype(np.float64) @ length_normalize(test.vector[None])[0].astype(np.float64), -1, 1)
    speakers, own = list(store.speakers), judge.purpose.threshold
    if judge.calibration is None:
        ranked = [Candidate(speakers[row], float(scores[row])) for row in np.argsort(-scores, kind="stable")]
        named = ranked[0].speaker if own is not None and ranked[0].score >= own else None
        return Identification(ranked, own is not None, named, own, own is not None)
    return _calibrated(store, scores, test, judge)


def _calibrated(store: SpeakerStore, scores: np.ndarray, test: Embedded, judge: Judge) -> Identification:
    assert judge.calibration is not None
    purpose, calibration, own = judge.purpose, judge.calibration, judge.purpose.threshold
    prior = calibration.prior if purpose.prior is None else purpose.prior
    quality = [lengths(entry, test) for entry in store.speakers.values()]
    llrs = np.concatenate([judge.llr(scores[row : row + 1], measures) for row, measures in enumerate(quality)])
    posteriors, nobody = posteriors_of(llrs, prior)
    order = np.argsort(-llrs, kind="stable")
    speakers = list(store.speakers)
    ranked = [Candidate(speakers[row], float(scores[row]), float(llrs[row]), float(posteriors[row])) for row in order]
    bayes = shared_threshold(prior, len(speakers), purpose.cost_miss, purpose.cost_fa)
    at = bayes if own is None else float(judge.llr(np.array([own]), quality[order[0]])[0])
    false_alarm, miss = calibration.rates_at(at)
    named = ranked[0].llr >= bayes if own is None else ranked[0].score >= own  # type: ignore[operator]
    return Identification(
        ranked,
        True,
        ranked[0].speaker if named else None,
        bayes if own is None else own,
        own is not None,
        prior,
        nobody,
        miss,
        min(1.0, len(speakers) * false_alarm),
    )


def posteriors_of(llrs: np.ndarray, prior: float) -> tuple[np.ndarray, float]:
    """Posteriors `(num_speakers,)` of the enrolled, and that of nobody; together they are 1.

    Args:
        llrs: `(num_speakers,)` natural log-likelihood ratios.
        prior: that it is any of them.
    """
    odds = np.append(llrs + logit(prior) - np.log(len(llrs)), 0.0)  # against nobody
    shares = np.exp(odds - odds.max())
    shares /= shares.sum()
    return shares[:-1], float(shares[-1])
