"""Examples without something that they say: what leaving each field out of a request is predicted from.

They are made of the columns of the whole examples. As JSON lines, 2,200 variants of 100 events with 20
features took 20 ms to write and 2.5 to decode; here it is one.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from streamrec.events.block import Examples

__all__ = ["Omissions", "omissions", "variants"]

_NOTHING, _USER, _ITEM = -1, -2, -3
_FEATURES = "features."
#: At most so many entries at once, a variant counting as 64 more: 4,096 variants, half of what a learner
#: takes, or a few of the largest events; memory is bounded whatever is asked for.
_MOST, _VARIANT = 1 << 18, 64


class Omissions(NamedTuple):
    """M variants."""

    example: np.ndarray  # int64 (M,): what each is a variant of
    lacking: np.ndarray  # int32 (M,): number of the decoder's field that it lacks; below 0: see above


def omissions(left_out: Sequence[Sequence[str]], fields: Sequence[str]) -> Omissions:
    """Of each example first itself, then the example without each of these, in their order.

    Args:
        left_out: of each example, names of what to leave out: `user`, `item`, `features.NAME`.
        fields: names of the decoder's fields. What it has never met is in no example.

    """
    numbers = {name: i for i, name in enumerate(fields)}
    names = [name for its in left_out for name in ("", *its)]
    by_name = {name: _number(name, numbers) for name in set(names)}
    lacking = np.fromiter(map(by_name.__getitem__, names), np.int32, len(names))
    return Omissions(np.repeat(np.arange(len(left_out)), [1 + len(its) for its in left_out]), lacking)


def variants(examples: Examples, omitted: Omissions) -> Iterator[Examples]:
    """The variants in their order, in parts of bounded size."""
    sizes = np.diff(examples.entry_offsets)[omitted.example]
    part = np.cumsum(sizes + _VARIANT) // _MOST
    for its in np.split(np.arange(len(part)), np.flatnonzero(np.diff(part)) + 1):
        yield _without(examples, omitted.example[its], omitted.lacking[its])


def _number(name: str, numbers: dict[str, int]) -> int:
    if name.startswith(_FEATURES):
        return numbers.get(name.removeprefix(_FEATURES), _NOTHING)
    return {"": _NOTHING, "user": _USER, "item": _ITEM}[name]


def _without(examples: Examples, example: np.ndarray, lacking: np.ndarray) -> Examples:
    starts = examples.entry_offsets[example]
    sizes = examples.entry_offsets[example + 1] - starts
    ends = np.cumsum(sizes)
    entries = np.arange(int(sizes.sum())) + np.repeat(starts - ends + sizes, sizes)
    kept = examples.entry_field[entries] != np.repeat(lacking, sizes)
    n_kept = np.bincount(np.repeat(np.arange(len(sizes)), sizes)[kept], minlength=len(sizes))
    entries = entries[kept]
    nobody = np.uint64(0)
    return Examples(
        examples.time_ms[example],
        examples.key[example],
        np.where(lacking == _USER, nobody, examples.user[example]),
        np.where(lacking == _ITEM, nobody, examples.item[example]),
        examples.labels[example],
        examples.weights[example],
        examples.role[example],
        examples.chosen[example],
        np.append(np.int64(0), np.cumsum(n_kept)),
        examples.entry_field[entries],
        examples.entry_kind[entries],
        examples.entry_value[entries],
    )
