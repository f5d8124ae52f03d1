"""A back end for embeddings: transforms in a row, then PLDA or the cosine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sv_toolkit.backends.cosine import cosine_scores
from sv_toolkit.backends.estimator import Estimator
from sv_toolkit.backends.plda import Plda, SimplifiedConfig, SimplifiedPlda, TwoCovarianceConfig, TwoCovariancePlda, require_iterations
from sv_toolkit.backends.plda_adaptation import AdaptationConfig, adapt_plda
from sv_toolkit.backends.plda_scoring import LENGTHS
from sv_toolkit.backends.statistics import SpeakerStats, speaker_statistics
from sv_toolkit.backends.transforms import (
    Center,
    Lda,
    LdaConfig,
    LengthNorm,
    LengthNormConfig,
    Pipeline,
    Transform,
    Whiten,
    WhitenConfig,
)
from sv_toolkit.errors import ConfigError, DataError, ModelError

WHITENINGS, LENGTH_NORMS, PLDAS = ("none", "zca", "pca"), ("none", "unit", "sqrt-dim"), ("two-covariance", "simplified", "none")
_NAMES: dict[type, str] = {Center: "center", Whiten: "whiten", Lda: "lda", LengthNorm: "length-norm"}


@dataclass(frozen=True)
class BackendConfig:
    """What stands between an embedding and its score, in this order.

    Attributes:
        center: subtract the mean.
        whiten: "none", "zca" or "pca".
        whiten_shrinkage: see `WhitenConfig`.
        lda_dim: directions that LDA keeps; None: chosen from the data (`LdaConfig`); 0: no LDA.
        lda_shrinkage: see `LdaConfig`.
        length_norm: "none", "unit" or "sqrt-dim".
        plda: "two-covariance", "simplified", or "none": scores are cosines.
        plda_iterations: of EM.
        speaker_dim: of simplified PLDA; see `SimplifiedConfig`.
        plda_length: length that projected vectors get before they are scored; see `DiagonalPlda.project`.
    """

    center: bool = True
    whiten: str = "none"
    whiten_shrinkage: float | None = 0.0
    lda_dim: int | None = None
    lda_shrinkage: float | None = None
    length_norm: str = "sqrt-dim"
    plda: str = "two-covariance"
    plda_iterations: int = 10
    speaker_dim: int | None = None
    plda_length: str = "none"

    def __post_init__(self) -> None:
        choices = {"whiten": WHITENINGS, "length_norm": LENGTH_NORMS, "plda": PLDAS, "plda_length": LENGTHS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.lda_dim is not None and self.lda_dim < 0:
            raise ConfigError(f"lda_dim cannot be negative, got {self.lda_dim}")
        if self.speaker_dim is not None and self.plda != "simplified":
            raise ConfigError("speaker_dim is for simplified PLDA only")
        require_iterations(self.plda_iterations)


class Backend(Estimator):
    """Transforms and a scorer, fitted one after the other on the same vectors."""

    is_additive = False  # see Pipeline

    def __init__(self, config: BackendConfig = BackendConfig()) -> None:  # noqa: B008
        self.config = config
        self.pipeline = Pipeline(list(_steps(config)))
        self.plda = _plda(config)
        self.needs_speakers = self.pipeline.needs_speakers or self.plda is not None

    def fit(self, vectors: np.ndarray, speakers: Sequence[str] | np.ndarray | None = None) -> Backend:
        """Learn from `(num_utterances, dim)` vectors of the `(num_utterances,)` speakers; returns self."""
        if self.needs_speakers and speakers is None:
            raise ValueError("this back end needs speakers")
        transformed = self.pipeline.fit_transform(vectors, speakers)
        if self.plda is not None:
            self.plda.fit(transformed, speakers)
        return self

    def fit_statistics(self, stats: SpeakerStats) -> Backend:
        """Not possible, as for `Pipeline`."""
        raise ValueError("a back end is fitted on vectors: each step learns from what the step before makes of them")

    @property
    def is_fitted(self) -> bool:
        """True if every part is."""
        return self.pipeline.is_fitted and (self.plda is None or self.plda.is_fitted)

    def arrays(self) -> dict[str, np.ndarray]:
        """`transforms.0.mean`, ..., `plda.mean`, ..."""
        parts: dict[str, Estimator | None] = {"transforms": self.pipeline, "plda": self.plda}
        return {f"{part}.{name}": array for part, owner in parts.items() if owner for name, array in owner.arrays().items()}

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> Backend:
        """Take over what `arrays()` gave; returns self.

        Raises:
            ModelError: an array is missing, unknown, of the wrong type or shape, or not finite.
        """
        own = {name: array for name, array in arrays.items() if name.startswith("plda.") and self.plda is not None}
        if self.plda is not None:
            self.plda.load_arrays({name.removeprefix("plda."): array for name, array in own.items()})
        self.pipeline.load_arrays({name.removeprefix("transforms."): array for name, array in arrays.items() if name not in own})
        self._refuse_misfits()
        return self

    def _refuse_misfits(self) -> None:
        """Each step must take vectors of the dimension that the step before gives."""
        dim: int | None = None
        for part in (*self.pipeline.steps, *([] if self.plda is None else [self.plda])):
            arrays = part.arrays()
            if "mean" in arrays and dim not in (None, len(arrays["mean"])):
                raise ModelError(
                    f"the back end does not fit together: {type(part).__name__} takes {len(arrays['mean'])} dimensions, it gets {dim}"
                )
            dim = len(arrays["projection"]) if "projection" in arrays else len(arrays["mean"]) if "mean" in arrays else dim

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """`(num_utterances, dim)` float64 as the scorer takes them."""
        transformed = self.pipeline.transform(vectors)
        return transformed if self.plda is not None else LengthNorm().transform(transformed)

    def enroll(self, transformed: np.ndarray, rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """`(num_models, dim)` means over the utterances of each model.

        Args:
            transformed: `(num_utterances, dim)`, by `transform`.
            rows: of the utterances of the first model, then of the second, ...
            counts: `(num_models,)` utterances of each, at least one.
        """
        return np.add.reduceat(transformed[rows], np.cumsum(counts) - counts) / counts[:, None]

    def score(
        self, enroll: np.ndarray, num_utterances: np.ndarray, test: np.ndarray, enroll_index: np.ndarray, test_index: np.ndarray
    ) -> np.ndarray:
        """Scores of trials, `(num_trials,)`: log-likelihood ratios of PLDA, or cosines.

        Args:
            enroll: `(num_enroll, dim)`, transformed vectors or means of `enroll`.
            num_utterances: `(num_enroll,)`, over how many utterances each mean was taken; PLDA knows a speaker of many
                utterances better.  Ones score every mean as if it were one utterance.
            test: `(num_test, dim)`, transformed.
            enroll_index: `(num_trials,)` rows of `enroll`.
            test_index: `(num_trials,)` rows of `test`.
        """
        if self.plda is None:
            return cosine_scores(enroll, test, enroll_index, test_index).astype(np.float64)
        model = self.plda.diagonal
        left = model.project(enroll, num_utterances, self.config.plda_length)
        return model.llr(left, num_utterances, model.project(test, 1, self.config.plda_length), enroll_index, test_index)

    def summary(self) -> str:
        """The steps in words: "center, lda to 100, length-norm, two-covariance PLDA of 100 dimensions"."""
        steps = [
            _NAMES[type(step)] + (f" to {len(step.arrays()['projection'])}" if "projection" in step.shapes else "")
            for step in self.pipeline.steps
        ]
        return ", ".join([*steps, "cosine" if self.plda is None else self._plda_in_words(len(self.plda.mean_))])

    def _plda_in_words(self, dim: int) -> str:
        length = "" if self.config.plda_length == "none" else f" with projected vectors of length {self.config.plda_length!r}"
        return f"{self.config.plda} PLDA of {dim} dimensions{length}"

    def adapted(self, vectors: np.ndarray, config: AdaptationConfig = AdaptationConfig(), recenter: bool = False) -> Backend:  # noqa: B008
        """This back end with its PLDA model adapted to unlabelled vectors of another domain (`adapt_plda`).

        Args:
            vectors: `(num_utterances, dim)`, not transformed.
            recenter: take the mean that is subtracted first from these vectors too.

        Raises:
            DataError: there is no PLDA model, or `recenter` and nothing is subtracted first.
        """
        if self.plda is None:
            raise DataError("this back end has no PLDA model to adapt; train one with --plda two-covariance")
        arrays = self.arrays()
        if recenter:
            if not self.config.center:
                raise DataError("this back end subtracts no mean, there is nothing to take from the new vectors")
            arrays["transforms.0.mean"] = Center().fit(vectors).arrays()["mean"]
        adapted = Backend(dataclasses.replace(self.config, plda="two-covariance", speaker_dim=None))
        adapted.pipeline.load_arrays({name.removeprefix("transforms."): array for name, array in arrays.items() if name[0] == "t"})
        model = adapt_plda(self.plda.diagonal, speaker_statistics(adapted.pipeline.transform(vectors)), config)
        within, between = model.covariances()
        if adapted.plda is not None:
            adapted.plda.load_arrays({"mean": model.mean, "within_covariance": within, "between_covariance": between})
        return adapted


def _steps(config: BackendConfig) -> list[Transform]:
    steps: list[Transform] = []
    if config.center:
        steps.append(Center())
    if config.whiten != "none":
        steps.append(Whiten(WhitenConfig(config.whiten, config.whiten_shrinkage)))
    if config.lda_dim != 0:
        steps.append(Lda(LdaConfig(config.lda_dim, config.lda_shrinkage)))
    if config.length_norm != "none":
        steps.append(LengthNorm(LengthNormConfig(config.length_norm)))
    return steps


def _plda(config: BackendConfig) -> Plda | None:
    if config.plda == "two-covariance":
        return TwoCovariancePlda(TwoCovarianceConfig(config.plda_iterations))
    if config.plda == "simplified":
        return SimplifiedPlda(SimplifiedConfig(config.plda_iterations, config.speaker_dim))
    return None
