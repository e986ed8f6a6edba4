"""Names of tables and blobs of a model that is made of named parts: PART.NAME."""

from collections.abc import Mapping
from typing import TypeVar

__all__ = ["its_own", "named", "parted"]

_T = TypeVar("_T")


def named(of_parts: Mapping[str, Mapping[str, _T]]) -> dict[str, _T]:
    """All of what the parts have, by part and name.

    >>> named({"wide": {"linear": 1}, "deep": {"dense": 2}})
    {'wide.linear': 1, 'deep.dense': 2}
    """
    return {f"{part}.{name}": it for part, its in of_parts.items() for name, it in its.items()}


def its_own(whole: Mapping[str, _T], part: str) -> dict[str, _T]:
    """What `named` gave, back to one part under its own names."""
    begin = f"{part}."
    return {name.removeprefix(begin): it for name, it in whole.items() if name.startswith(begin)}


def parted(name: str) -> tuple[str, str]:
    """(part, name) of a name that `named` gave; a part's name has no dot.

    >>> parted("deep.embedding.admission")
    ('deep', 'embedding.admission')
    """
    part, _, its = name.partition(".")
    return part, its
