"""From the score of two voices to a decision: the likelihood ratio, the posterior, and the error rates at the threshold.

Without a calibration there is a score and no decision: a threshold that suits one model, channel and purpose is wrong
for the next, so none is made up here.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sv_toolkit.backends.calibration import NAME, Calibration, FitList, read_calibration, refuse_other_origin, unreachable
from sv_toolkit.backends.cosine import length_normalize
from sv_toolkit.backends.logistic import logit
from sv_toolkit.data.quality import MEASURES
from sv_toolkit.embeddings.waveform import Embedded
from sv_toolkit.errors import ConfigError, ModelError, plain
from sv_toolkit.metrics.detection import OperatingPoint
from sv_toolkit.verification.store import Entry

logger = logging.getLogger("sv_toolkit")
SIDES = ("enroll", "test")
MAKE_ONE = "sv-calibrate TRIALS SCORES --model {model} makes one from labelled trials"


def cosine(enroll: np.ndarray, test: np.ndarray) -> float:
    """Cosine of the angle between two d-vectors, each `(embedding_dim,)`."""
    one, other = length_normalize(np.stack([enroll, test])).astype(np.float64)
    return float(np.clip(one @ other, -1.0, 1.0))


@dataclass(frozen=True)
class Purpose:
    """What decisions are for.

    Attributes:
        prior: probability, before anything is heard, that the claim is true; None: that of the calibration.
        cost_miss, cost_fa: what rejecting the speaker and accepting somebody else cost.
        threshold: accept from this score (cosine) on, whatever prior and costs say.
    """

    prior: float | None = None
    cost_miss: float = 1.0
    cost_fa: float = 1.0
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.prior is not None and not 0 < self.prior < 1:
            raise ConfigError(f"prior must lie between 0 and 1, got {self.prior}")
        if not (0 < self.cost_miss < math.inf and 0 < self.cost_fa < math.inf):
            raise ConfigError(f"costs must be positive and finite, got {self.cost_miss} and {self.cost_fa}")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ConfigError(f"threshold is a cosine and lies in [-1, 1], got {self.threshold}")


@dataclass(frozen=True)
class Decision:
    """What is known about one claim; None where it takes a calibration (or a threshold) that is not there.

    Attributes:
        score: cosine of the two d-vectors.
        llr: natural log-likelihood ratio of one speaker against two.
        prior, posterior: probability of one speaker, before and after.
        threshold: accepted from here on, of the llr or (`is_cosine`) of the score.
        accepted: the decision.
        false_alarm_rate, miss_rate: of the threshold, on the trials `list`.
        list: the trials that the calibration was fitted on.
    """

    score: float
    llr: float | None = None
    prior: float | None = None
    posterior: float | None = None
    threshold: float | None = None
    is_cosine: bool = False
    accepted: bool | None = None
    false_alarm_rate: float | None = None
    miss_rate: float | None = None
    list: FitList | None = None

    @property
    def margin(self) -> float | None:
        """How far the claim lies above the threshold, in the threshold's own unit."""
        value = self.score if self.is_cosine else self.llr
        return None if value is None or self.threshold is None else value - self.threshold


@dataclass(frozen=True)
class Judge:
    """Decides by a calibration, a threshold of one's own, both, or (neither) not at all."""

    calibration: Calibration | None = None
    purpose: Purpose = Purpose()

    @property
    def can_decide(self) -> bool:
        """False where there is nothing to decide by."""
        return self.calibration is not None or self.purpose.threshold is not None

    def decide(self, score: float, enroll: Embedded | Entry, test: Embedded) -> Decision:
        """What follows from the `score` of the recordings `enroll` and `test`, whose lengths the calibration may ask for."""
        own = self.purpose.threshold
        if self.calibration is None:
            return Decision(score, threshold=own, is_cosine=own is not None, accepted=None if own is None else score >= own)
        prior = self.calibration.prior if self.purpose.prior is None else self.purpose.prior
        bayes = OperatingPoint(prior, self.purpose.cost_miss, self.purpose.cost_fa).bayes_threshold
        quality = lengths(enroll, test)
        llr = self.llr(np.array([score]), quality)[0]
        accepted = bool(llr >= bayes) if own is None else score >= own
        false_alarm, miss = self.calibration.rates_at(bayes if own is None else float(self.llr(np.array([own]), quality)[0]))
        posterior = float(self.calibration.posterior(llr, prior))
        threshold = bayes if own is None else own
        made_of = self.calibration.list
        return Decision(score, float(llr), prior, posterior, threshold, own is not None, accepted, false_alarm, miss, made_of)

    def llr(self, scores: np.ndarray, quality: dict[str, float]) -> np.ndarray:
        """Log-likelihood ratios of `scores` `(num_scores,)` that share the same lengths.

        Raises:
            ModelError: the calibration asks for a measure that is not known here.
        """
        assert self.calibration is not None
        missing = sorted(set(self.calibration.quality_names) - quality.keys())
        if missing:
            raise ModelError(
                f"the calibration asks for the measure {plain(missing[0])}, which recordings do not give; run sv-calibrate anew"
            )
        return self.calibration.llr(scores, {name: np.full(len(scores), quality[name]) for name in self.calibration.quality_names})

    def out_of_reach(self, enroll: Embedded | Entry, test: Embedded, threshold: float | None) -> str | None:
        """A sentence where hardly any recording can be accepted by the log-likelihood ratio `threshold`, None where some can.

        Either not even a cosine of 1 reaches it, or no claim of the calibration's list did.
        """
        if self.calibration is None or threshold is None:
            return None
        costs = self.purpose.cost_miss, self.purpose.cost_fa
        best = float(self.llr(np.array([1.0]), lengths(enroll, test))[0])
        sentence = unreachable(self.calibration, threshold, *costs)
        if threshold > best:
            none = (
                f"no recording can be accepted: a cosine of 1 gives a log-likelihood ratio of {best:.2f}, the threshold is {threshold:.2f}"
            )
            sentence = f"{none}; {sentence}" if sentence else none
        return f"{sentence}; --prior says how likely true claims are" if sentence else None


def seen_seconds(model: Path) -> tuple[float, float] | None:
    """Shortest and longest recording that the calibration of the model was fitted on; None without one, or where it does not say."""
    return read_calibration(model).seconds if (model / NAME).exists() else None


def lengths(enroll: Embedded | Entry, test: Embedded) -> dict[str, float]:
    """The quality measures of `data.quality.log_lengths` for two sides."""
    values = {"utt2dur": "duration", "utt2num_frames": "num_frames"}
    return {
        f"{MEASURES[table]}_{side}": float(np.log(getattr(what, name)))
        for table, name in values.items()
        for side, what in zip(SIDES, (enroll, test))
    }


def warn_of_self(enroll: Embedded | Entry, test: Embedded, where: str) -> None:
    """Say where a recording is compared with itself."""
    own = (enroll.digest,) if isinstance(enroll, Embedded) else enroll.utterances
    if test.digest in own:
        logger.warning("%s: is an enrolled recording itself; its score is no evidence", where)


def read_judge(model: Path, digest: str, purpose: Purpose) -> Judge:
    """A judge by `calibration.json` in the model's folder, or without one where there is none.

    Args:
        digest: of the model that makes the scores.

    Raises:
        ConfigError: the calibration is damaged; or there is none, and `purpose` asks for a prior or costs.
        ModelError: it is of another model, or of other scores than cosines.
    """
    if not (model / NAME).exists():
        if purpose != Purpose(threshold=purpose.threshold):
            raise ConfigError(f"{plain(model)}: prior and costs say nothing without a calibration; {MAKE_ONE.format(model=plain(model))}")
        return Judge(None, purpose)
    calibration = read_calibration(model)
    refuse_other_origin(calibration, model / NAME, "cosine", digest)
    return Judge(calibration, purpose)


def shared_threshold(prior: float, num_speakers: int, cost_miss: float = 1.0, cost_fa: float = 1.0) -> float:
    """The log-likelihood ratio from which the best of `num_speakers` is named rather than nobody.

    The `prior`, that the voice belongs to any of them, is split evenly: each has prior / num_speakers, and the odds are
    against 1 - prior for somebody unknown, so that ln(num_speakers) comes on top of the threshold of a single claim.
    """
    return -logit(prior) + float(np.log(num_speakers * cost_fa / cost_miss))
