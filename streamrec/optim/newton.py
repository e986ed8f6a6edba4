"""Recursive Gauss-Newton: every example is a step of Newton's method for all weights of a group together.

Of the loss l(s) of an output s(w), j = ds/dw, slope l′, curvature c = l″ (1 of squared error/2, p(1 − p) of
log loss), and P the inverse of the curvature seen so far (Ljung and Söderström 1983, "Theory and Practice of
Recursive Identification", the recursive prediction error method; of squared error it is the extended Kalman
filter):

    q  = jᵀPj
    w' = w − lr·P·j·l′/(λ + c·q)
    P' = (P − P·j·jᵀ·P·c/(λ + c·q))/λ            forgetting λ = 1 − 1/memory
    P″ = P' − P'eᵢeᵢᵀP'·d/(1 + d·P'ᵢᵢ)           d = n·damping·(1 − λ), i = 0, 1, … n − 1, 0, …

The last line gives back the damping that was forgotten, to one weight after another (Ngia and Sjöberg 2000,
"Efficient training of neural nets for nonlinear adaptive filtering using a recursive Levenberg-Marquardt
algorithm"): directions that no example speaks of stay at 1/damping instead of growing without bound. The
first examples are linearised at weights that are soon others, so the memory grows with the stream.

P is kept as U·D·Uᵀ, U unit upper triangular, D diagonal (Bierman 1977, "Factorization methods for discrete
sequential estimation", chapter V.3): however it is rounded, no direction's variance falls below 0. That is
n²/2 numbers, and a step takes as much time: for a few hundred weights that must be right after one pass, not
for a wide network (of all groups of a small `dcn`, on 25,000 ratings of MovieLens, it ends at log loss .582
where AdaGrad does at .572). Slots: U by columns with D in its diagonal, how many steps there were, i.
Arithmetic is float64.
"""

from typing import Literal

import numpy as np
from numba import njit
from pydantic import Field

from streamrec.memory import INNER, JIT
from streamrec.optim.base import OptimizerSettings, Positive, outer_by_rows

__all__ = ["MOST_WEIGHTS", "Newton", "NewtonSettings"]

#: Weights of a group: P of so many is 8 MB, and a step takes milliseconds.
MOST_WEIGHTS = 2048
#: What is left of a variance after gradients of any size: not 0, which no forgetting could raise.
_LEAST = 1e-36
#: Counts stop here: float32 has no next integer from twice that on.
_MOST_STEPS = float(1 << 23)


class NewtonSettings(OptimizerSettings):
    """Settings of recursive Gauss-Newton.

    Attributes:
        name: "newton".
        learning_rate: > 0; the share of a step that is taken: 1 is Newton's.
        damping: > 0; 1/damping is the variance of a weight around its start, in units of 1/curvature. Greater
            values trust the start, and the linearisation, more.
        memory: ≥ 10; how many examples count, in the long run.
        first_memory: ≥ 10; how many count at the beginning.
        memory_growth: ≥ 0; by how much the memory grows with an example, until it is `memory`.

    """

    name: Literal["newton"] = "newton"
    learning_rate: Positive = 1.0
    damping: Positive = 0.1
    memory: float = Field(10_000.0, ge=10, allow_inf_nan=False)
    first_memory: float = Field(100.0, ge=10, allow_inf_nan=False)
    memory_growth: float = Field(0.1, ge=0, allow_inf_nan=False)


@njit(**INNER)
def _see(p: np.ndarray, j: np.ndarray, curvature: float, forget: float, pj: np.ndarray) -> float:
    """P' of the module, in place, for float64 j (n,); pj becomes P·j of the old P. Returns λ + c·q."""
    alpha = forget
    at = 0
    for k in range(j.size):
        f = j[k]
        for i in range(k):
            f += p[at + i] * j[i]
        v = p[at + k] * f
        before = alpha
        alpha += curvature * f * v
        p[at + k] = max(p[at + k] * before / (alpha * forget), _LEAST)
        share = curvature * f / before
        for i in range(k):
            u = np.float64(p[at + i])
            p[at + i] = u - share * pj[i]
            pj[i] += u * v
        pj[k] = v
        at += k + 1
    return alpha


@njit(**JIT)
def _step(row: np.ndarray, j: np.ndarray, slope: float, curvature: float, scalars: np.ndarray) -> None:
    """The equations of the module for one example; scalars: settings in their order."""
    rate, damping, memory, first, growth = scalars
    n = j.size
    end = n + n * (n + 1) // 2
    p, steps, turn = row[n:end], np.float64(row[end]), int(row[end + 1])
    forget = 1.0 - 1.0 / min(memory, first + growth * steps)
    pj = np.zeros(n, np.float64)
    divisor = _see(p, j.astype(np.float64), curvature, forget, pj)
    for k in range(n):
        row[k] -= rate * slope * pj[k] / divisor
    unit = np.zeros(n, np.float64)
    unit[turn] = 1.0
    _see(p, unit, n * damping * (1.0 - forget), 1.0, pj)
    row[end] = min(steps + 1.0, _MOST_STEPS)
    row[end + 1] = (turn + 1) % n


@njit(**JIT)
def _apply(rows: np.ndarray, gradients: np.ndarray, scalars: np.ndarray) -> None:
    for i in range(len(rows)):
        _step(rows[i], gradients[i], 1.0, 1.0, scalars)


class Newton:
    """Recursive Gauss-Newton; see the module."""

    def __init__(self, settings: NewtonSettings) -> None:
        self._damping = settings.damping
        self._scalars = np.array([value for name, value in settings if name != "name"], np.float64)

    def slots(self, width: int) -> int:
        """P, and two counts.

        Raises:
            ValueError: more weights than a square of them is sensible for.

        """
        if width > MOST_WEIGHTS:
            raise ValueError(
                f"newton: expected at most {MOST_WEIGHTS} weights in a group, got {width}: "
                "it keeps the square of them; take adagrad or adam for this group"
            )
        return width * (width + 1) // 2 + 2

    def begin(self, rows: np.ndarray, width: int) -> None:
        """P = 1/damping, nothing seen."""
        rows[:, width : width + self.slots(width)] = 0.0
        diagonal = width - 1 + np.cumsum(np.arange(1, width + 1))
        rows[:, diagonal] = 1.0 / self._damping

    def step(self, row: np.ndarray, j: np.ndarray, slope: float, curvature: float) -> None:
        """One example: row float32 (W,), j float32 (n,) the derivative of the output, l′ and l″ ≥ 0."""
        _step(row, j, float(slope), float(curvature), self._scalars)

    def apply(self, rows: np.ndarray, gradients: np.ndarray) -> None:
        """One step of each row, for gradients whose slope is not known.

        Their products g·gᵀ stand for the curvature, as in the online Newton step (Hazan et al. 2007), which
        is right on average where the loss is the logarithm of a probability: of log loss, not of squared
        error. There `step` is needed.
        """
        _apply(rows, gradients, self._scalars)

    def outer(self, row: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
        """One step of a kernel for the gradient a·bᵀ."""
        outer_by_rows(self, row, a, b)
