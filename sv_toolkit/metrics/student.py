"""Student's t distribution for whole degrees of freedom, in its finite form (Abramowitz and Stegun 26.7.3 and 26.7.4)."""

from __future__ import annotations

import math


def two_sided_p(t: float, freedom: int) -> float:
    """Probability that |T| exceeds |t| with `freedom` degrees of freedom; to 1e-13, not relative to what is left.

    >>> round(two_sided_p(12.7062, 1), 6)
    0.05
    """
    if freedom < 1:
        raise ValueError(f"degrees of freedom must be at least 1, got {freedom}")
    if math.isinf(t):
        return 0.0
    angle = math.atan2(abs(t), math.sqrt(freedom))
    cosine, odd = math.cos(angle), freedom % 2
    term, total = (cosine, cosine if freedom > 1 else 0.0) if odd else (1.0, 1.0)
    for step in range(2 + odd, freedom - 1, 2):
        term *= cosine**2 * (step - 1) / step
        total += term
    inside = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return min(max(1.0 - inside, 0.0), 1.0)


def quantile(level: float, freedom: int) -> float:
    """The t within which |T| stays with probability `level`, by bisection.

    >>> round(quantile(0.95, 39), 4)
    2.0227
    """
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, got {level}")
    low, high = 0.0, 1.0
    while two_sided_p(high, freedom) > 1 - level:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided_p(middle, freedom) > 1 - level else (low, middle)
    return high
