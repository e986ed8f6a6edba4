"""TFRS's walk-through of Deep & Cross networks in one pass instead of a hundred.

What somebody buys follows from age and what he bought before, and from which of these come together
(REFERENCE 2, "Experiment"). 70,000 rows are learned once, one after another; 30,000 others are predicted.
"""

from typing import NamedTuple

import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.layers.base import Gradients
from streamrec.layers.cross import CrossStack
from streamrec.layers.dense import Dense
from streamrec.layers.joint import Joint
from streamrec.layers.mlp import MLP
from streamrec.layers.strength import pair_strengths, ranked_pairs
from streamrec.models.deep.parameters import DenseParameters
from streamrec.optim.adam import AdamSettings
from streamrec.optim.newton import Newton, NewtonSettings

__all__ = ["FIELDS", "PLANTED", "Crosses", "Data", "data", "figures", "learn_crosses", "learn_dnn"]

FIELDS = ("age", "employed", "rum", "soda", "almond")
#: Fields that act together by two, strongest first; employed × soda, too, but a 30th as strong.
PLANTED = (("employed", "almond"), ("employed", "rum"), ("rum", "almond"))
_LEARNED, _EVALUATED = 70_000, 30_000
#: RMSE of the published models after 100 epochs: 36 parameters, and the DNN; the limit of three layers.
_PUBLISHED, _PUBLISHED_DNN, _LIMIT = 0.0281, 0.8087, 0.002
_DNN_UNITS, _DNN_BATCH, _DNN_RATE = (512, 256, 128, 1), 16, 0.001
#: Labels are exact and weights of the order of 1: the start says little.
_NEWTON = NewtonSettings(damping=0.01)
_SEED = 1


class Data(NamedTuple):
    """Rows float32 (N, 5) in the order of `FIELDS`, and what is to be predicted, float32 (N,)."""

    x: np.ndarray
    y: np.ndarray


class Crosses(NamedTuple):
    """Learned cross layers and the linear logit behind them."""

    stack: CrossStack
    logit: Dense
    parameters: int

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Float32 (N,) of rows (N, 5)."""
        return self.logit.forward(self.stack.forward(x)[0])[0][:, 0]


def data(n: int, seed: int) -> Data:
    """N rows."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, n) / 68.0
    employed, rum, soda, almond = (rng.integers(0, 2, n) * 0.5 for _ in range(4))
    alone = 0.1 * age + 1.2 * employed + 0.5 * rum + 0.2 * soda
    pairs = 1.8 * employed * rum + 0.1 * employed * soda + 3.1 * employed * almond + 1.5 * rum * almond
    y = alone + pairs + 2.0 * employed * rum * soda * almond
    return Data(np.column_stack([age, employed, rum, soda, almond]).astype(np.float32), y.astype(np.float32))


def learn_crosses(rows: Data, n: int, seed: int) -> Crosses:
    """N cross layers and a linear logit, by recursive Gauss-Newton over the rows, each once."""
    width = rows.x.shape[1]
    stack, logit = CrossStack(width, n, seed=seed), Dense(width, 1, seed=seed, name="logit.")
    joint = Joint([stack, logit], Newton(_NEWTON))
    one = np.ones((1, 1), np.float32)
    for row, y in zip(rows.x[:, None], rows.y.tolist(), strict=True):
        crossed, of_stack = stack.forward(row)
        s, of_logit = logit.forward(crossed)
        stack.backward(of_stack, logit.backward(of_logit, one, joint.gradients), joint.gradients)
        joint.step(float(s[0, 0]) - y, 1.0)  # slope and curvature of squared error/2
    return Crosses(stack, logit, joint.width)


def learn_dnn(rows: Data, seed: int) -> MLP:
    """A ReLU network of 512, 256 and 128 units by Adam over the rows, each once, in micro-batches."""
    network = MLP(rows.x.shape[1], _DNN_UNITS, seed=seed)
    dense = DenseParameters({"dnn": network}, {"": AdamSettings(learning_rate=_DNN_RATE)})
    gradients: Gradients = {name: np.empty_like(value) for name, value in network.parameters.items()}
    for first in range(0, len(rows.x), _DNN_BATCH):
        part = slice(first, first + _DNN_BATCH)
        s, tape = network.forward(rows.x[part])
        network.backward(tape, (s - rows.y[part, None]) / np.float32(len(s)), gradients)
        dense.apply("dnn", gradients)
    return network


def figures() -> list[Figure]:
    """RMSE of one and of three cross layers, beside the published and the limit, and of the DNN."""
    rows = data(_LEARNED + _EVALUATED, _SEED)
    learned, others = Data(rows.x[:_LEARNED], rows.y[:_LEARNED]), Data(rows.x[_LEARNED:], rows.y[_LEARNED:])
    one, three = learn_crosses(learned, 1, _SEED), learn_crosses(learned, 3, _SEED)
    dnn = learn_dnn(learned, _SEED)
    size = sum(value.size for value in dnn.parameters.values())
    return [
        _figure("cross_1", _rmse(one.predict(others.x), others.y), one.parameters, (_PUBLISHED, 1.0)),
        _figure("cross_3", _rmse(three.predict(others.x), others.y), three.parameters, (_LIMIT, 1.0)),
        _figure("dnn", _rmse(dnn.forward(others.x)[0][:, 0], others.y), size, (_PUBLISHED_DNN, None)),
        _planted(one),
    ]


def _figure(name: str, rmse: float, parameters: int, beside: tuple[float, float | None]) -> Figure:
    peer = "published, 100 epochs" if name != "cross_3" else "limit"
    more = {"rmse": rmse, "parameters": parameters}
    return Figure(name, rmse, f"RMSE, {parameters:,} parameters", beside[0], peer, (None, beside[1]), more)


def _planted(crosses: Crosses) -> Figure:
    """How many of the strongest pairs of the heat map are planted ones."""
    kernel, behind = crosses.stack.parameters["0.kernel"], crosses.logit.parameters["logit.kernel"]
    strengths = pair_strengths(kernel, [1] * len(FIELDS), behind)
    pairs = ranked_pairs(strengths, FIELDS)
    found = sum({a, b} in [set(pair) for pair in PLANTED] for a, b, _ in pairs[: len(PLANTED)])
    more = {
        "fields": FIELDS,
        "strength": strengths.tolist(),
        "pairs": [{"fields": [a, b], "strength": strength} for a, b, strength in pairs],
    }
    return Figure("heat_map", found, "planted pairs on top", len(PLANTED), "planted", (1.0, None), more)


def _rmse(predicted: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(predicted.astype(np.float64) - y))))
