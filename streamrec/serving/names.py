"""Names for the ids of one event: a batch holds hashes, and only the event itself tells of what."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from streamrec.features.batch import Batch
from streamrec.features.plan import bag_names
from streamrec.features.spec import FeatureSpec, Field
from streamrec.hashing import combine, hash_text

__all__ = ["value_names"]

_TIME_PARTS = ("hour", "weekday", "hour_of_week", "day")  # in the order of a bag's ids


def value_names(spec: FeatureSpec, batch: Batch, values: Mapping[str, Any]) -> list[str]:
    """A name for every id of a batch of one event.

    `field=value` of strings; the field, and which of its ids, of numbers and words; `a=x×b=y` of a cross.

    Args:
        spec: of the batch.
        batch: of one example.
        values: its `user`, `item`, and `features.NAME`.

    """
    known = _known(spec, values)
    bags: list[list[str]] = []
    for field, ids in zip(spec.fields, _bags(batch), strict=False):
        bags.append(_of_field(field, ids, known))
    index = {field.name: i for i, field in enumerate(spec.fields)}
    all_bags = _bags(batch)
    for cross, ids in zip(spec.crosses, all_bags[len(spec.fields) :], strict=False):
        parts = [_crossed(spec.fields[index[name]], bags[index[name]]) for name in cross.fields]
        bags.append(["×".join(names) for names, _ in zip(product(*parts), ids, strict=False)])
    n = len(spec.fields) + len(spec.crosses)
    for name, ids in zip(bag_names(spec)[n:], all_bags[n:], strict=True):
        bags.append([name, f"recent{name.removeprefix('rate')}"][: len(ids)])
    return [name for bag in bags for name in bag]


def _bags(batch: Batch) -> list[list[int]]:
    return [part.tolist() for part in np.split(batch.ids, batch.offsets[1:-1])]


def _known(spec: FeatureSpec, values: Mapping[str, Any]) -> dict[int, str]:
    """Id → name of every string of the event, under every field that may read it."""
    known: dict[int, str] = {}
    for field in spec.fields:
        for source, value in values.items():
            own = source.removeprefix("features.")
            name = field.name if field.source == source else own if field.source == "features.*" else None
            for text in value if isinstance(value, list) else [value]:
                if name is not None and isinstance(text, str):
                    pair = combine(np.uint64(hash_text(name)), np.uint64(hash_text(text)))
                    known[int(pair)] = f"{name}={text}"
    return known


def _of_field(field: Field, ids: list[int], known: Mapping[int, str]) -> list[str]:
    if field.kind == "time":
        parts = [part for part in _TIME_PARTS if part in field.parts]
        return [f"{field.name}.{part}" for part in parts][: len(ids)]
    name = "other feature" if field.source == "features.*" else field.name
    places = [name] if len(ids) == 1 else [f"{name}[{i}]" for i in range(len(ids))]
    return [known.get(id_, place) for id_, place in zip(ids, places, strict=True)]


def _crossed(field: Field, names: list[str]) -> list[str]:
    """Of a number, its interval is crossed and nothing else."""
    return names[:1] if field.kind == "number" else names
