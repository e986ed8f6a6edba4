"""The parameters of several layers as one vector, for optimizers that must see them together."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from streamrec.layers.base import Gradients, shared
from streamrec.optim.newton import Newton
from streamrec.state.dense import DenseTable

__all__ = ["Joint"]


class Joint:
    """Layers whose parameters are one row [weights | slots], learned by recursive Gauss-Newton.

        joint = Joint([stack, logit], Newton(NewtonSettings()))
        s, tape = … forward of one example …
        … backward with ds = 1 into joint.gradients …
        joint.step(slope, curvature)  # of the loss, at s

    Args:
        layers: float32; their `parameters` become views of the row.
        optimizer: of all of them.

    Attributes:
        width: how many weights there are.
        table: has the row, so that a commit takes it like any other.
        gradients: views of one vector, for `backward` to write into.

    """

    def __init__(self, layers: Iterable[Any], optimizer: Newton) -> None:
        parameters = shared(layers)
        self._optimizer = optimizer
        self.width = sum(value.size for value in parameters.values())
        self.table = DenseTable([(self.width + optimizer.slots(self.width),)])
        self._row = self.table.arrays[0]
        self._derivative = np.zeros(self.width, np.float32)
        self.gradients: Gradients = {}
        start = 0
        for name, value in list(parameters.items()):
            part = slice(start, start + value.size)
            self._row[part] = value.ravel()
            parameters[name] = self._row[part].reshape(value.shape)
            self.gradients[name] = self._derivative[part].reshape(value.shape)
            start = part.stop
        optimizer.begin(self._row[None], self.width)

    def step(self, slope: float, curvature: float) -> None:
        """Learn one example, the derivative of whose output is in `gradients`.

        Slope and curvature are of its loss, weight included.
        """
        self._optimizer.step(self._row, self._derivative, slope, curvature)
        self.table.mark()
