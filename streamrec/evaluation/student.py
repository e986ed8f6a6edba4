"""Student's t distribution with whole degrees of freedom: finite sums, so no library is needed for it."""

import math

__all__ = ["t_quantile", "t_within"]


def t_within(t: float, freedom: int) -> float:
    """P(|T| < t) for t ≥ 0 and 1 or more degrees of freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).

    >>> round(t_within(2.228139, 10), 6)
    0.95
    """
    theta = math.atan2(t, math.sqrt(freedom))
    cos2, odd = math.cos(theta) ** 2, freedom % 2
    term, total = (math.cos(theta), 0.0) if odd else (1.0, 1.0)
    if odd and freedom > 1:
        total = term
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cos2 * (k - 1) / k
        total += term
    total *= math.sin(theta)
    return 2 / math.pi * (theta + total) if odd else total


def t_quantile(within: float, freedom: int) -> float:
    """The t with P(|T| < t) = `within`, which is in (0, 1), to twelve digits, by halving.

    >>> round(t_quantile(0.95, 3), 4)
    3.1824
    """
    low, high = 0.0, 1.0
    while t_within(high, freedom) < within:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_within(middle, freedom) < within else (low, middle)
    return (low + high) / 2
