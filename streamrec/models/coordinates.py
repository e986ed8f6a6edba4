"""From an example, a mapping from names to values, to coordinates of a linear model: keys with numbers.

The rules are those of scikit-learn's `DictVectorizer`: a number or boolean under `name` is the coordinate
`name` with that value; a string is the coordinate `name=string` with value 1; a list of strings is one such
coordinate for each, and a string that occurs twice has value 2. None is absent.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["coordinates"]

#: Types whose values need no translation; anything else takes the slow road, which knows subclasses too.
_NUMBERS = frozenset({bool, float, int, np.bool_, np.float32, np.float64, np.int32, np.int64})


def coordinates(x: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The coordinates of one example: x itself where it holds numbers only.

    Raises:
        ValueError: A value is none of number, string, boolean, list of strings; the text names the feature.
    """
    if _NUMBERS.issuperset(map(type, x.values())):
        return x
    found: dict[Hashable, float] = {}
    for name, value in x.items():
        if isinstance(value, str):
            key = f"{name}={value}"
            found[key] = found[key] + 1.0 if key in found else 1.0
        elif type(value) in _NUMBERS:
            found[name] = found[name] + value if name in found else value
        elif value is not None:
            for member, number in _unusual(name, value):
                found[member] = found.get(member, 0.0) + number
    return found


def _unusual(name: Hashable, value: Any) -> Iterable[tuple[Hashable, float]]:
    if isinstance(value, list | tuple | set | frozenset):
        if not all(isinstance(member, str) for member in value):
            odd = next(member for member in value if not isinstance(member, str))
            raise ValueError(
                f"feature {name!r}: expected a list of strings, got {type(odd).__name__} {odd!r} in it"
            )
        return [(f"{name}={member}", 1.0) for member in sorted(value)]
    try:
        return [(name, float(value))]
    except (TypeError, ValueError, OverflowError):
        kind = type(value).__name__
        raise ValueError(
            f"feature {name!r}: expected a number, string, boolean or list of strings, got {kind}"
        ) from None
