"""What our FTRL is compared with: the equations in 50 digits, the paper's Algorithm 1, known mistakes.

A `Step` takes the state of a coordinate, a gradient and the parameters to the next state: (w, n, z).
"""

import decimal
import math
from collections import defaultdict
from collections.abc import Callable, Mapping

from streamrec.optim.ftrl import FTRLParameters

__all__ = ["DECIMALS", "WRONG_STEPS", "Paper", "State", "Step", "decimal_step"]

State = tuple[float, float, float]
Step = Callable[[State, float, FTRLParameters], State]

DECIMALS = decimal.Context(prec=50)


def decimal_step(state: tuple, g: float, parameters: FTRLParameters) -> tuple:
    """REFERENCE 1, line by line, on 50-digit decimals: exact for our purposes."""
    with decimal.localcontext(DECIMALS):
        w, n, z = (decimal.Decimal(value) for value in state)
        g = decimal.Decimal(g)
        lr, p, _, l1, l2, l2s, beta = (decimal.Decimal(value) for value in parameters)

        def power(a: decimal.Decimal) -> decimal.Decimal:
            return a**-p if a else decimal.Decimal(p == 0)

        gs = g + 2 * l2s * w
        grown = n + g * g
        z = z + gs - (power(grown) - power(n)) / lr * w
        q = (power(grown) + beta) / lr + 2 * l2
        w = (max(-l1, min(l1, z)) - z) / q if q else decimal.Decimal(0)
        return w, grown, z


class Paper:
    """McMahan et al. 2013, Algorithm 1, in float64, with its own names."""

    def __init__(self, alpha: float, beta: float, lambda1: float, lambda2: float) -> None:
        self.alpha, self.beta, self.lambda1, self.lambda2 = alpha, beta, lambda1, lambda2
        self.z: dict[str, float] = defaultdict(float)
        self.n: dict[str, float] = defaultdict(float)

    def weight(self, i: str) -> float:
        z, n = self.z[i], self.n[i]
        if abs(z) <= self.lambda1:
            return 0.0
        rate = (self.beta + math.sqrt(n)) / self.alpha + self.lambda2
        return -(1 / rate) * (z - math.copysign(self.lambda1, z))

    def step(self, x: Mapping[str, float], y: float, importance: float = 1.0) -> float:
        """Predict, then learn; returns p."""
        w = {i: self.weight(i) for i in x}
        p = 1 / (1 + math.exp(-sum(w[i] * x[i] for i in x)))
        for i in x:
            g = importance * (p - y) * x[i]
            sigma = (math.sqrt(self.n[i] + g * g) - math.sqrt(self.n[i])) / self.alpha
            self.z[i] += g - sigma * w[i]
            self.n[i] += g * g
        return p


def _weight(z: float, n: float, c: FTRLParameters, l2_factor: float = 2.0) -> float:
    q = (n**-c.learning_rate_power + c.beta) / c.learning_rate + l2_factor * c.l2
    return (max(-c.l1, min(c.l1, z)) - z) / q


def _rise(n: float, grown: float, c: FTRLParameters) -> float:
    return (grown**-c.learning_rate_power - n**-c.learning_rate_power) / c.learning_rate


def _river(state: State, g: float, c: FTRLParameters) -> State:
    """river 0.26 `optim.FTRLProximal`: the weight lags one update, and stays inside the L1 ball."""
    w, n, z = state
    if abs(z) > c.l1:
        w = _weight(z, n, c)
    grown = n + g * g
    return w, grown, z + g + 2 * c.l2_shrinkage * w - _rise(n, grown, c) * w


def _monolith(state: State, g: float, c: FTRLParameters) -> State:
    """Monolith: `signbit(z)`, which is 0 or 1, where sign(z) is meant."""
    w, n, z = state
    grown = n + g * g
    z += g + 2 * c.l2_shrinkage * w - _rise(n, grown, c) * w
    q = (grown**-c.learning_rate_power + c.beta) / c.learning_rate + 2 * c.l2
    return (0.0 if abs(z) <= c.l1 else (c.l1 * float(z < 0) - z) / q), grown, z


def _paper_l2(state: State, g: float, c: FTRLParameters) -> State:
    """l2 without the factor 2."""
    w, n, z = state
    grown = n + g * g
    z += g + 2 * c.l2_shrinkage * w - _rise(n, grown, c) * w
    return _weight(z, grown, c, l2_factor=1.0), grown, z


def _shrinkage_in_n(state: State, g: float, c: FTRLParameters) -> State:
    """The shrinkage term counted as a gradient in n too."""
    w, n, z = state
    g += 2 * c.l2_shrinkage * w
    grown = n + g * g
    z += g - _rise(n, grown, c) * w
    return _weight(z, grown, c), grown, z


def _never_reset(state: State, g: float, c: FTRLParameters) -> State:
    """Inside the L1 ball the old weight stays."""
    w, n, z = state
    grown = n + g * g
    z += g + 2 * c.l2_shrinkage * w - _rise(n, grown, c) * w
    return (w if abs(z) <= c.l1 else _weight(z, grown, c)), grown, z


def _no_beta(state: State, g: float, c: FTRLParameters) -> State:
    """beta forgotten."""
    return _correct(state, g, c._replace(beta=0.0))


def _correct(state: State, g: float, c: FTRLParameters) -> State:
    w, n, z = state
    grown = n + g * g
    z += g + 2 * c.l2_shrinkage * w - _rise(n, grown, c) * w
    return _weight(z, grown, c), grown, z


WRONG_STEPS: dict[str, Step] = {
    "river: lagging, never reset": _river,
    "Monolith: signbit": _monolith,
    "l2 without factor 2": _paper_l2,
    "shrinkage in n": _shrinkage_in_n,
    "never reset in the L1 ball": _never_reset,
    "no beta": _no_beta,
}
