"""Dense parameters of layers: views into rows of one table, each with its optimizer's slots behind it."""

from collections.abc import Mapping

import numpy as np

from streamrec.layers.base import Factors, Gradients, Layer
from streamrec.optim.base import Optimizer, OptimizerSettings
from streamrec.optim.registry import optimizer_of
from streamrec.state.dense import DenseTable

__all__ = ["DenseParameters", "grouped"]


def grouped(names: list[str], groups: Mapping[str, object]) -> dict[str, str]:
    """The group of every parameter: the one whose name its own begins with, up to a dot.

    >>> grouped(["top.0.kernel", "top.0.bias"], {"top": None})
    {'top.0.kernel': 'top', 'top.0.bias': 'top'}

    Raises:
        ValueError: a parameter is in no group, or in two; or a group has none.

    """
    inside = {name: [group for group in groups if _is_in(name, group)] for name in names}
    for name, its in inside.items():
        if len(its) != 1:
            found = f"two, {its[0]!r} and {its[1]!r}" if its else "none"
            raise ValueError(
                f"optimizers: expected each parameter in one group, {name!r} is in {found}; "
                f"groups are {', '.join(map(repr, groups))}"
            )
    for group in groups:
        if not any(group in its for its in inside.values()):
            raise ValueError(f"optimizers: no parameter is in group {group!r}; there are {', '.join(names)}")
    return {name: its[0] for name, its in inside.items()}


def _is_in(name: str, group: str) -> bool:
    return not group or name == group or name.startswith(f"{group}.")


class DenseParameters:
    """All parameters of some layers, which from now on are views into `table`.

    Args:
        layers: by the name, without dots, that the names of their parameters begin with: `top` →
            `top.0.kernel`.
        optimizers: settings by group of parameters, see `grouped`.

    Attributes:
        table: of the commit.
        arrays: the parameters by name.

    """

    def __init__(self, layers: Mapping[str, Layer], optimizers: Mapping[str, OptimizerSettings]) -> None:
        starts = {
            f"{prefix}.{name}": value
            for prefix, layer in layers.items()
            for name, value in layer.parameters.items()
        }
        built = {group: optimizer_of(settings) for group, settings in optimizers.items()}
        groups = grouped(list(starts), built) if starts else {}
        its = {name: built[group] for name, group in groups.items()}
        self.table = DenseTable([(v.size + its[name].slots(v.size),) for name, v in starts.items()])
        self.arrays: dict[str, np.ndarray] = {}
        self._blocks: dict[str, dict[str, tuple[np.ndarray, Optimizer]]] = {}
        for (name, start), block in zip(starts.items(), self.table.arrays, strict=True):
            self.arrays[name] = _placed(start, block, its[name])
            prefix, _, own = name.partition(".")
            layers[prefix].parameters[own] = self.arrays[name]
            self._blocks.setdefault(prefix, {})[own] = block[None], its[name]

    def apply(self, prefix: str, gradients: Gradients) -> None:
        """One step of a layer's parameters, by the gradients that its `backward` gave."""
        for name, gradient in gradients.items():
            rows, optimizer = self._blocks[prefix][name]
            if not isinstance(gradient, Factors):
                optimizer.apply(rows, gradient.reshape(1, -1))
            elif len(gradient.a) == 1:
                optimizer.outer(rows[0], gradient.a[0], gradient.b[0])
            else:
                optimizer.apply(rows, gradient.product().reshape(1, -1))
        self.table.mark()


def _placed(start: np.ndarray, block: np.ndarray, optimizer: Optimizer) -> np.ndarray:
    """The parameter within its block, with what it starts at; its slots begun."""
    if start.dtype != np.float32:
        raise ValueError(f"parameters of a network: expected float32, got {start.dtype}")
    block[: start.size] = start.ravel()
    optimizer.begin(block[None], start.size)
    return block[: start.size].reshape(start.shape)
