"""Optimizers by name. A new one is one file and one line here."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, SerializeAsAny

from streamrec.optim.adagrad import Adagrad, AdagradSettings
from streamrec.optim.base import Optimizer, OptimizerSettings

__all__ = ["OPTIMIZERS", "AnyOptimizer", "optimizer_of", "optimizer_settings"]


class _Entry(NamedTuple):
    settings: type[OptimizerSettings]
    build: Callable[[Any], Optimizer]


#: Name → its settings, and how to build one of them.
OPTIMIZERS: Mapping[str, _Entry] = {
    "adagrad": _Entry(AdagradSettings, Adagrad),
}


def optimizer_settings(value: Any) -> OptimizerSettings:
    """Settings from a name alone, from a dictionary with a `name`, or as they are.

    Raises:
        ValueError: no such name, or a setting out of its range (pydantic's error names it).

    """
    if isinstance(value, OptimizerSettings):
        return value
    given = {"name": value} if isinstance(value, str) else value
    name = given.get("name") if isinstance(given, dict) else None
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer: expected a name of {', '.join(OPTIMIZERS)}, got {name or value!r}")
    return OPTIMIZERS[name].settings.model_validate(given)


#: A field of settings that takes any optimizer: its name, or a table with `name` and whatever differs from the
#: defaults.
AnyOptimizer = Annotated[SerializeAsAny[OptimizerSettings], BeforeValidator(optimizer_settings)]


def optimizer_of(settings: OptimizerSettings) -> Optimizer:
    """The optimizer that these settings describe."""
    return OPTIMIZERS[settings.name].build(settings)
