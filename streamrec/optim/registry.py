"""Optimizers by name. A new one is one file and one line here."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, SerializeAsAny, ValidationError

from streamrec.optim.adagrad import Adagrad, AdagradSettings
from streamrec.optim.adam import Adam, AdamSettings
from streamrec.optim.base import Optimizer, OptimizerSettings
from streamrec.optim.clippy import Clippy, ClippySettings
from streamrec.optim.ftrl_vector import FTRLVector, FTRLVectorSettings
from streamrec.optim.momentum import Momentum, MomentumSettings
from streamrec.optim.newton import Newton, NewtonSettings
from streamrec.optim.rowwise_adagrad import RowwiseAdagrad, RowwiseAdagradSettings

__all__ = ["OPTIMIZERS", "AnyOptimizer", "Entry", "optimizer_of", "optimizer_settings"]


class Entry(NamedTuple):
    """One optimizer of the registry."""

    settings: type[OptimizerSettings]
    build: Callable[[Any], Optimizer]  # from these settings


#: Name → its settings, and how to build one of them.
OPTIMIZERS: Mapping[str, Entry] = {
    "adagrad": Entry(AdagradSettings, Adagrad),
    "adam": Entry(AdamSettings, Adam),
    "clippy": Entry(ClippySettings, Clippy),
    "ftrl": Entry(FTRLVectorSettings, FTRLVector),
    "momentum": Entry(MomentumSettings, Momentum),
    "newton": Entry(NewtonSettings, Newton),
    "rowwise_adagrad": Entry(RowwiseAdagradSettings, RowwiseAdagrad),
}


def optimizer_settings(value: Any) -> OptimizerSettings:
    """Settings from a name alone, from a dictionary with a `name`, or as they are.

    Raises:
        ValueError: no such name, an unknown setting, or one out of its range; one line.

    """
    if isinstance(value, OptimizerSettings):
        return value
    given = {"name": value} if isinstance(value, str) else value
    name = given.get("name") if isinstance(given, dict) else value
    if not isinstance(name, str) or name not in OPTIMIZERS:
        raise ValueError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, got {name!r}")
    settings = OPTIMIZERS[name].settings
    try:
        return settings.model_validate(given, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            known = ", ".join(field for field in settings.model_fields if field != "name")
            raise ValueError(f"optimizer {name}: {key!r} is not a setting; there are {known}") from None
        expected = first["msg"].removeprefix("Input should be ")
        raise ValueError(f"optimizer {name}: {key}: expected {expected}, got {first['input']!r}") from None


#: A field of settings that takes any optimizer: its name, or a table with its `name` and whatever differs
#: from the defaults.
AnyOptimizer = Annotated[SerializeAsAny[OptimizerSettings], BeforeValidator(optimizer_settings)]


def optimizer_of(settings: OptimizerSettings) -> Optimizer:
    """The optimizer that these settings describe.

    >>> import numpy as np
    >>> optimizer = optimizer_of(optimizer_settings({"name": "momentum", "learning_rate": 0.5}))
    >>> row = np.array([[1.0, 2.0, 0.0, 0.0]], np.float32)
    >>> optimizer.apply(row, np.ones((1, 2), np.float32))
    >>> row.tolist()
    [[0.5, 1.5, -0.5, -0.5]]
    """
    return OPTIMIZERS[settings.name].build(settings)
