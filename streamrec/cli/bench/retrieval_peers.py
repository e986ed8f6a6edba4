"""What retrieval is measured beside: recommending by popularity, and EASE in closed form.

EASE (Steck 2019, "Embarrassingly Shallow Autoencoders") is the item-item matrix B of zero diagonal that
minimises ‖X − X·B‖² + λ‖B‖², X being users × items of 0 and 1:

    B = I − P / diag(P),  P = (XᵀX + λI)⁻¹ = (I − Xᵀ·K·X) / λ,  K = (X·Xᵀ + λI)⁻¹

by Woodbury's identity, so that what is inverted has the size of the users, not of the items.
"""

import numpy as np

__all__ = ["Ease", "Popularity", "hit_rates"]


class Ease:
    """EASE of a matrix of what users took.

    Args:
        x: float32 (U, I), 0 or 1.
        shrinkage: λ, above 0.

    """

    def __init__(self, x: np.ndarray, shrinkage: float) -> None:
        self._x = x
        k = np.linalg.inv(x @ x.T + np.float32(shrinkage) * np.eye(len(x), dtype=np.float32))
        self._kx = k @ x
        self._diagonal = (1.0 - np.einsum("ui,ui->i", x, self._kx)) / shrinkage
        self._shrinkage = np.float32(shrinkage)

    def scores(self, taken: np.ndarray) -> np.ndarray:
        """Scores float32 (B, I) for users who took these, float32 (B, I)."""
        p = (taken - (taken @ self._x.T) @ self._kx) / self._shrinkage
        return taken - p / self._diagonal


class Popularity:
    """How often items were taken among the last `window` interactions.

    Args:
        items: numbers of all interactions' items, in order.
        n_items: how many there are.
        window: interactions that count.

    """

    def __init__(self, items: np.ndarray, n_items: int, window: int) -> None:
        self._items, self._window = items, window
        self._counts, self._at = np.zeros(n_items, np.float32), 0

    def scores(self, at: int) -> np.ndarray:
        """Counts before interaction number at, float32 (I,), which never goes back."""
        np.add.at(self._counts, self._items[self._at : at], 1)
        old = slice(max(0, self._at - self._window), max(0, at - self._window))
        np.subtract.at(self._counts, self._items[old], 1)
        self._at = at
        return self._counts


def hit_rates(
    scores: np.ndarray, x: np.ndarray, asked: tuple[np.ndarray, np.ndarray], k: int = 100
) -> tuple[float, float]:
    """Share of asked (users, items) among the first k of scores (U, I): of all items, of those not in x."""
    users, items = asked
    rates = []
    for excluded in (np.zeros_like(x, np.bool_), x > 0):
        left = np.where(excluded, -np.inf, scores)
        least = -np.partition(-left, k - 1, axis=1)[:, k - 1]
        its = left[users, items]
        rates.append(float(np.mean((its >= least[users]) & (its > -np.inf))))
    return rates[0], rates[1]
