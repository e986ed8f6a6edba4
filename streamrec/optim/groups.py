"""Optimizers chosen by groups of parameters: what TensorFlow Recommenders calls a composite optimizer.

A group names its parameters by patterns (`fnmatch`: * any text, ? any character). Every parameter must be in
exactly one group, and every pattern must mean something: whoever misspells one learns it at once, and not
from parameters that stay as they were.
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field

from streamrec.optim.base import OptimizerSettings
from streamrec.optim.registry import AnyOptimizer

__all__ = ["OptimizerGroup", "optimizers_by_name"]


class OptimizerGroup(BaseModel):
    """Parameters that one optimizer learns.

    Attributes:
        parameters: patterns of their names.
        optimizer: its name or settings.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parameters: tuple[str, ...] = Field(min_length=1)
    optimizer: AnyOptimizer


def optimizers_by_name(
    groups: Sequence[OptimizerGroup], names: Iterable[str]
) -> dict[str, OptimizerSettings]:
    """The optimizer's settings of every parameter.

    >>> groups = [
    ...     OptimizerGroup(parameters=("embeddings",), optimizer="adagrad"),
    ...     OptimizerGroup(parameters=("*/kernel", "*/bias"), optimizer="adam"),
    ... ]
    >>> chosen = optimizers_by_name(groups, ["embeddings", "top/kernel", "top/bias"])
    >>> [settings.name for settings in chosen.values()]
    ['adagrad', 'adam', 'adam']

    Raises:
        ValueError: a parameter in no group or in two, or a pattern that none has; one line.

    """
    names = list(names)
    for pattern in (pattern for group in groups for pattern in group.parameters):
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"optimizers: no parameter is called {pattern!r}; there are {', '.join(names)}")
    return {name: groups[_group_of(name, groups)].optimizer for name in names}


def _group_of(name: str, groups: Sequence[OptimizerGroup]) -> int:
    """Number of the one group that has this parameter."""
    having = [k for k, group in enumerate(groups) if any(fnmatchcase(name, p) for p in group.parameters)]
    if not having:
        raise ValueError(f"optimizers: expected parameter {name!r} in one group, got none; add it to one")
    if len(having) > 1:
        number = " and ".join(str(k + 1) for k in having)
        raise ValueError(f"optimizers: expected parameter {name!r} in one group, got {number}; narrow one")
    return having[0]
