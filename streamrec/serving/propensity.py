"""How probable it is that Thompson sampling puts an item first, over all seeds.

With log-odds s, spreads S, and the normal density φ and distribution Φ:

    P(i) = ∫ φ(t) Π_{j≠i} Φ((s_i + S_i·t − s_j)/S_j) dt

by the midpoint rule. Where the spreads are alike it is right to six digits and more; a rival whose spread is
far smaller than S_i makes a step of the integrand, and an error of up to .008.
"""

import math

import numpy as np
from numba import njit

from streamrec.memory import JIT

__all__ = ["first_propensity"]

#: Midpoints over ±8 standard deviations.
_NODES, _REACH = 400, 8.0
#: A spread up to this counts as 0: no draw moves what a float32 can tell.
_LEAST = 1e-9
_NEVER = 1e-15


def first_propensity(s: np.ndarray, spread: np.ndarray, item: int) -> float:
    """P(item) for s and S float64 (N,); equal keys go by place, as in the ranking.

    >>> round(first_propensity(np.zeros(4), np.ones(4), 2), 6)
    0.25
    """
    t = (np.arange(_NODES) + 0.5) * (2 * _REACH / _NODES) - _REACH
    weight = np.exp(-0.5 * t * t)
    if spread[item] <= _LEAST:
        t, weight = np.zeros(1), np.ones(1)
    wins = np.empty(len(t))
    _win(s, spread, item, s[item] + spread[item] * t, wins)
    return float((weight @ wins) / weight.sum())


@njit(**JIT)
def _win(s: np.ndarray, spread: np.ndarray, item: int, places: np.ndarray, wins: np.ndarray) -> None:
    """Fill wins (P,) with the probability that all others are below the item at each place (P,)."""
    for p in range(places.size):
        wins[p] = 1.0
        for j in range(s.size):
            above = s[j] - places[p]
            if j == item or above < -_REACH * spread[j]:  # below it for certain
                continue
            if spread[j] > _LEAST:
                wins[p] *= 0.5 * math.erfc(above / (spread[j] * math.sqrt(2.0)))
            elif above > 0.0 or (above == 0.0 and j < item):
                wins[p] = 0.0
            if wins[p] < _NEVER:
                break
