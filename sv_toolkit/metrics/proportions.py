"""The interval of a rate: Wilson's, with as many trials as the spread of resampled rates says that there are.

The spread gives the effective size of the list, the number of independent trials that would be as uncertain (the
design effect of Kish 1965; Korn and Graubard 1998 put it into the interval of a proportion).  Wilson's interval asks
which true rates agree with what was seen, so its upper end is above 0 where no error was.
"""

from __future__ import annotations

import math

import numpy as np

TRUST_IN_TRIALS = 0.1  # errors: seen this many times over, the spread counts for more than the number of trials


def log_odds(rates: np.ndarray, half_an_error: float) -> np.ndarray:
    """Finite at 0 and 1 by half an error added to both outcomes (Haldane 1956, Anscombe 1956)."""
    return np.log((rates + half_an_error) / (1 - rates + half_an_error))


def effective_size(rate: float, variance: float, num_trials: int) -> float:
    """How many independent trials would give `rate` this `variance`; about `num_trials` where there are no errors.

    A spread of next to no errors says next to nothing: a tenth of an error of `num_trials` independent trials is added
    to the rate and its variance to the variance.

    >>> round(effective_size(0.25, 0.25 * 0.75 / 50, 1000), 1)  # spread like that of 50 trials
    50.0
    >>> round(effective_size(0.0, 0.0, 1000))
    1000
    """
    added = TRUST_IN_TRIALS / num_trials
    smooth = (rate + added) / (1 + 2 * added)
    return smooth * (1 - smooth) / (variance + added / num_trials)


def wilson(rate: float, size: float, deviations: float) -> tuple[float, float]:
    """Ends of all true rates that lie within so many of their own deviations of `rate` in `size` trials (Wilson 1927).

    >>> low, high = wilson(0.1, 50, 1.96)
    >>> round(low, 4), round(high, 4)
    (0.0435, 0.2136)
    """
    middle = rate * size + deviations**2 / 2
    reach = deviations * math.sqrt(rate * (1 - rate) * size + deviations**2 / 4)
    return max((middle - reach) / (size + deviations**2), 0.0), min((middle + reach) / (size + deviations**2), 1.0)
