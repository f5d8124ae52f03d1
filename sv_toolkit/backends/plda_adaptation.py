"""Unsupervised adaptation of PLDA to another domain from unlabelled vectors, as Kaldi's ivector-adapt-plda does it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sv_toolkit.backends.covariance import symmetric
from sv_toolkit.backends.plda_scoring import DiagonalPlda
from sv_toolkit.backends.statistics import SpeakerStats
from sv_toolkit.errors import ConfigError, DataError


@dataclass(frozen=True)
class AdaptationConfig:
    """How much of what the new domain has in excess goes where; the defaults are Kaldi's.

    Attributes:
        mean_diff_scale: how much of the squared shift of the mean counts as variance of the new domain.
        within_covar_scale: share of the excess variance that goes to the within-speaker covariance.
        between_covar_scale: share that goes to the between-speaker covariance.
    """

    mean_diff_scale: float = 1.0
    within_covar_scale: float = 0.3
    between_covar_scale: float = 0.7

    def __post_init__(self) -> None:
        for name in ("mean_diff_scale", "within_covar_scale", "between_covar_scale"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a finite number from 0 on, got {getattr(self, name)}")


def adapt_plda(model: DiagonalPlda, stats: SpeakerStats, config: AdaptationConfig = AdaptationConfig()) -> DiagonalPlda:  # noqa: B008
    """The model with the mean of the new vectors, and with more variance where these vary more than the model expects.

    In the coordinates where the model's total covariance is the identity, the covariance of the new vectors has eigenvalues;
    what they exceed 1 by is shared out between the two covariances, in the directions of their eigenvectors.  Directions
    in which the new vectors vary less stay as they are.

    Args:
        model: trained elsewhere.
        stats: of the unlabelled vectors of the new domain; only their mean and total scatter are used.

    Raises:
        DataError: the dimensions differ.
    """
    if stats.dim != model.dim:
        raise DataError(f"the PLDA model takes vectors of {model.dim} dimensions, those to adapt to have {stats.dim}")
    shift = stats.mean - model.mean
    variance = stats.total_scatter / stats.num_utterances + config.mean_diff_scale * np.outer(shift, shift)
    to_unit = model.transform / np.sqrt(1 + model.psi)[:, None]
    values, vectors = np.linalg.eigh(symmetric(to_unit @ variance @ to_unit.T))
    back = np.linalg.solve(to_unit, vectors)  # columns: the eigenvectors where the vectors live
    excess = (back * np.maximum(values - 1, 0)) @ back.T
    within, between = model.covariances()
    return DiagonalPlda.from_covariances(
        stats.mean, within + config.within_covar_scale * excess, between + config.between_covar_scale * excess
    )
