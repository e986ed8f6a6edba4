"""How strongly pairs of fields act together in a cross layer: the norms of the blocks of its kernel.

With x' = x0 ⊙ (x·K) + … and a linear map V behind it, the product x_a·x_b of inputs a ≠ b has coefficients
K_ab·V_b + K_ba·V_a. Over the inputs of two fields and over the outputs of V, strength is the root of the sum
of their squares. Wang et al. 2021 ("DCN V2", section 5.6) show the norms of K's blocks; that is V = 1, for
where what follows is no linear map.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["added_squares", "pair_strengths", "ranked_pairs"]


def pair_strengths(kernel: np.ndarray, widths: Sequence[int], behind: np.ndarray | None = None) -> np.ndarray:
    """Float64 (F, F), symmetric; the diagonal is a field with itself.

    >>> pair_strengths(np.array([[0.0, 3.0], [4.0, 0.0]]), [1, 1]).tolist()
    [[0.0, 5.0], [5.0, 0.0]]
    >>> pair_strengths(np.array([[0.0, 3.0], [4.0, 0.0]]), [1, 1], np.array([[2.0], [1.0]])).tolist()
    [[0.0, 11.0], [11.0, 0.0]]

    Args:
        kernel: (I, I) of a `Cross` with a full W, or its two factors multiplied.
        widths: inputs of each field, in their order; together I.
        behind: V (I, O), the kernel of the linear layer behind; None where there is none.

    """
    k = kernel.astype(np.float64)
    if k.shape != (sum(widths), sum(widths)):
        raise ValueError(f"strength: expected a kernel of {sum(widths)} by as many inputs, got {k.shape}")
    gram = np.eye(len(k)) if behind is None else behind.astype(np.float64) @ behind.T.astype(np.float64)
    own = k * k * np.diag(gram)
    squares = own + own.T + 2.0 * k * k.T * gram
    starts = np.cumsum([0, *widths[:-1]])
    blocks = np.add.reduceat(np.add.reduceat(squares, starts, 0), starts, 1)
    strengths = np.sqrt(np.maximum(blocks, 0.0))
    strengths[np.diag_indices_from(strengths)] /= 2.0  # each product is there twice
    return strengths


def added_squares(x: np.ndarray, kernel: np.ndarray, widths: Sequence[int]) -> np.ndarray:
    """Float64 (F, F): |x_i ⊙ (x_j·K_ji)|² + |x_j ⊙ (x_i·K_ij)|², summed over rows x (B, I); symmetric.

    >>> added_squares(np.array([[1.0, 2.0]]), np.array([[0.0, 3.0], [4.0, 0.0]]), [1, 1]).tolist()
    [[0.0, 100.0], [100.0, 0.0]]
    """
    starts = np.cumsum([0, *widths[:-1]])
    squares = np.empty((len(widths), len(widths)))
    for i, (start, width) in enumerate(zip(starts.tolist(), widths, strict=True)):
        rows = slice(start, start + width)
        added = x * (x[:, rows] @ kernel[rows])
        squares[i] = np.add.reduceat(np.square(added, dtype=np.float64).sum(0), starts)
    both = squares + squares.T
    both[np.diag_indices_from(both)] /= 2.0
    return both


def ranked_pairs(strengths: np.ndarray, names: Sequence[str]) -> list[tuple[str, str, float]]:
    """Two different fields and their strength, strongest first."""
    pairs = [
        (names[i], names[j], float(strengths[i, j]))
        for i in range(len(names))
        for j in range(i + 1, len(names))
    ]
    return sorted(pairs, key=lambda pair: -pair[2])
