"""How much towers have a say, κ: as much as it has been worth.

Towers that have nothing to learn learn noise, and a score that adds noise to popularity is worse than
popularity. So what they say of an interaction before they learn it counts κ times, κ from 0 to 1 being what
would have made the loss of such interactions least: Newton's method, with the curvature of those seen so far,

    κ ← κ − Σ_b w_b (E_b[t] − t_b) / (h + Σ_b w_b Var_b[t])

of a micro-batch, t_b being the towers' part of the score of interaction b's item, E_b and Var_b mean and
variance of that part under the softmax of the whole score. The towers themselves learn as if κ were 1, so
that they are ready when there is something to learn.
"""

import struct

import numpy as np

__all__ = ["Gate"]

_STATE = struct.Struct("<2d")  # κ, h
#: h at first: of the interactions that are needed to move κ by much, a hundred or so.
_FIRST = 100.0
#: Interactions after which what they said counts 1/e: taste changes, and towers learn.
_MEMORY = 5000


class Gate:
    """κ, which starts at 1.

    Attributes:
        kappa: κ.

    """

    def __init__(self) -> None:
        self.kappa, self._curvature = 1.0, _FIRST

    def see(self, others: np.ndarray, towers: np.ndarray, own: np.ndarray, weights: np.ndarray) -> None:
        """Take B interactions, each among N items, into account.

        Args:
            others: float (B, N), all of the score but the towers' part, less log Q.
            towers: float (B, N), that part, κ = 1.
            own: int64 (B,), the column of each interaction's item.
            weights: float (B,).

        """
        z = others + self.kappa * towers
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        mean = (p * towers).sum(axis=1)
        variance = (p * (towers - mean[:, None]) ** 2).sum(axis=1)
        slope = float((weights * (mean - towers[np.arange(len(own)), own])).sum())
        kept = np.exp(-len(own) / _MEMORY)
        self._curvature = max(_FIRST, float(kept * self._curvature + (weights * variance).sum()))
        self.kappa = float(np.clip(self.kappa - slope / self._curvature, 0.0, 1.0))

    def to_bytes(self) -> bytes:
        """Exact state."""
        return _STATE.pack(self.kappa, self._curvature)

    def restore(self, state: bytes) -> None:
        """Take back what `to_bytes` gave."""
        self.kappa, self._curvature = _STATE.unpack(state)
