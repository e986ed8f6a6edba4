"""Exploration: ranking by what an item may be worth, not only by what it is believed to be worth.

With log-odds s (of a rating model, the rating) and confidence c, how far one more example can move it, which
falls with the root of what is known (McMahan et al. 2013, section 6):

    upper:     s + scale·c                      the upper confidence bound
    thompson:  s + scale·c·z, z ~ N(0, 1)       a draw from what is believed (Chapelle and Li 2011)
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from streamrec.serving.api import Explore

__all__ = ["Ranking", "explore"]

_MOST = float(np.finfo(np.float32).max)  # in place of an infinite confidence


class Ranking(NamedTuple):
    """What to rank by, of N candidates."""

    key: np.ndarray  # (N,), the highest first
    seed: int | None = None  # what was drawn from
    propensity: Callable[[int], float] | None = None  # of an item to be the first, over all seeds


def explore(policy: Explore, scored: np.ndarray, of_ratings: bool, new_seed: Callable[[], int]) -> Ranking:
    """The keys of N candidates.

    Args:
        policy: what is asked for.
        scored: float32 (2, N), predictions and confidences.
        of_ratings: predictions are ratings, not probabilities.
        new_seed: draws one where none is given.

    """
    s = scored[0].astype(np.float64) if of_ratings else _log_odds(scored[0])
    spread = policy.scale * np.minimum(scored[1].astype(np.float64), _MOST)
    if policy.policy == "upper":
        return Ranking(s + spread)
    seed = new_seed() if policy.seed is None else policy.seed
    key = s + spread * np.random.default_rng(seed).standard_normal(len(s))
    return Ranking(key, seed, lambda item: _first_propensity(s, spread, item))


def _first_propensity(s: np.ndarray, spread: np.ndarray, item: int) -> float:
    from streamrec.serving.propensity import first_propensity  # compiled code: loaded when first asked for

    return first_propensity(s, spread, item)


def _log_odds(probability: np.ndarray) -> np.ndarray:
    """Float64 (N,), finite and in the order of the float32 that were given."""
    p = probability.astype(np.float64)
    odds: np.ndarray = np.log(np.maximum(p, 1e-46)) - np.log1p(-np.minimum(p, 1 - 2.0**-25))
    return odds
