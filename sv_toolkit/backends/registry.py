"""Which back ends there are: a name, its configuration, its class.

`Class(Config())` is an estimator: `fit(...)` returns self, `arrays()` is what it learned as named float64 arrays,
`load_arrays(arrays)` takes it over and returns self.  `tests/backends/test_common_checks.py` runs over all of them;
what `fit` takes stands there in one dict by name, for those that do not learn from vectors and their speakers.
"""

from __future__ import annotations

from typing import Any

from sv_toolkit.backends.backend import Backend, BackendConfig
from sv_toolkit.backends.fusion import LogisticFusion, LogisticFusionConfig, MeanVarianceFusion, MeanVarianceFusionConfig
from sv_toolkit.backends.plda import SimplifiedConfig, SimplifiedPlda, TwoCovarianceConfig, TwoCovariancePlda
from sv_toolkit.backends.transforms import Center, CenterConfig, Lda, LdaConfig, LengthNorm, LengthNormConfig, Whiten, WhitenConfig
from sv_toolkit.errors import ModelError, shown

BACKENDS: dict[str, tuple[type, type[Any]]] = {
    "center": (CenterConfig, Center),
    "whiten": (WhitenConfig, Whiten),
    "lda": (LdaConfig, Lda),
    "length-norm": (LengthNormConfig, LengthNorm),
    "two-covariance": (TwoCovarianceConfig, TwoCovariancePlda),
    "simplified": (SimplifiedConfig, SimplifiedPlda),
    "embedding-backend": (BackendConfig, Backend),
    "logistic-fusion": (LogisticFusionConfig, LogisticFusion),
    "mean-variance-fusion": (MeanVarianceFusionConfig, MeanVarianceFusion),
}


def backend_entry(name: str) -> tuple[type, type[Any]]:
    """Configuration class and class of the back end `name`."""
    if name not in BACKENDS:
        raise ModelError(f"no back end {shown(name)}; known: {', '.join(sorted(BACKENDS))}")
    return BACKENDS[name]
