"""How much rarer interactions with an item are that its user took before: δ, what is added to its score.

    δ = min(0, logit R − logit M)

R is the share of interactions that repeat one of their user's, M the share that the score expects to if it
knows nothing of repeats: the mean over interactions of Σ p_j over the items j that the user took, p being the
softmax of all other parts of the score over the sample (`layers.sampled_softmax`). Where people take what is
popular whether they had it or not, R is as great as M is, and δ = 0; R alone would say how much all people
have taken already. Where nobody repeats, R falls to 0 and δ below all scores.

At most 0: what a user took is then the only thing that an index's scores are too high for.
"""

import struct

import numpy as np

__all__ = ["Repeats"]

_STATE = struct.Struct("<3d")  # interactions, repeats, expected ones
#: Added to repeats and to others, of both shares (Jeffreys' prior): none of them is 0.
_LITTLE = 0.5


class Repeats:
    """Counts of repeats, and what they would be if it did not matter what was taken."""

    def __init__(self) -> None:
        self._n = self._repeats = self._expected = 0.0

    @property
    def log_odds(self) -> float:
        """δ, a float32."""
        odds = np.array([self._repeats, self._expected]) + _LITTLE
        logits = np.log(odds / (self._n + 2 * _LITTLE - odds))
        return float(np.float32(min(0.0, logits[0] - logits[1])))

    def count(self, z: np.ndarray, seen: np.ndarray, own: np.ndarray) -> None:
        """Count B interactions, each among N items.

        Args:
            z: float (B, N), all other parts of the score, less log Q.
            seen: bool (B, N), which of the items their users took at other times.
            own: int64 (B,), the column of each interaction's item.

        """
        odds = np.exp(z - z.max(axis=1, keepdims=True))
        self._n += len(z)
        self._repeats += float(np.count_nonzero(seen[np.arange(len(z)), own]))
        self._expected += float(((odds * seen).sum(axis=1) / odds.sum(axis=1)).sum())

    def to_bytes(self) -> bytes:
        """Exact state."""
        return _STATE.pack(self._n, self._repeats, self._expected)

    def restore(self, state: bytes) -> None:
        """Take back what `to_bytes` gave."""
        self._n, self._repeats, self._expected = _STATE.unpack(state)
