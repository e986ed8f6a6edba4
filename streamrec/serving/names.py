"""Names for the ids of events: a batch holds hashes, and only the events themselves tell of what."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise, product
from typing import Any

import numpy as np
from numba import njit

from streamrec.features.batch import Batch
from streamrec.features.plan import bag_names
from streamrec.features.spec import FeatureSpec, Field
from streamrec.hashing import combine, hash_texts
from streamrec.memory import JIT

__all__ = ["value_names"]

_TIME_PARTS = ("hour", "weekday", "hour_of_week", "day")  # in the order of a bag's ids
_FEATURES, _REST = "features.", "features.*"


def value_names(spec: FeatureSpec, batch: Batch, events: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for every id of a batch.

    `field=value` of strings; the field, and which of its ids, of numbers and words; `a=x×b=y` of a cross.

    Args:
        spec: of the batch.
        batch: of B examples.
        events: of each its `user`, `item`, and `features.NAME`.

    """
    index = {field.name: i for i, field in enumerate(spec.fields)}
    crosses = [[index[name] for name in cross.fields] for cross in spec.crosses]
    n_fields, n = len(spec.fields), len(spec.fields) + len(crosses)
    statistics = [[name, f"recent{name.removeprefix('rate')}"] for name in bag_names(spec)[n:]]
    names: list[str] = []
    for bags, known in zip(_bags(batch), _known(spec, events), strict=True):
        own = [_of_field(field, ids, known) for field, ids in zip(spec.fields, bags, strict=False)]
        for its in own:
            names += its
        crossed = [_crossed(field, its) for field, its in zip(spec.fields, own, strict=True)]
        for parts, ids in zip(crosses, bags[n_fields:n], strict=True):
            several = product(*[crossed[i] for i in parts])
            names += ["×".join(its) for its, _ in zip(several, ids, strict=False)]
        for both, ids in zip(statistics, bags[n:], strict=True):
            names += both[: len(ids)]
    return names


def _bags(batch: Batch) -> Iterator[list[list[int]]]:
    """The ids of each example, by bag."""
    ids, offsets, n = batch.ids.tolist(), batch.offsets.tolist(), batch.n_fields
    for first in range(0, n * len(batch), n):
        bounds = offsets[first : first + n + 1]
        yield [ids[at:end] for at, end in pairwise(bounds)]


def _known(spec: FeatureSpec, events: Sequence[Mapping[str, Any]]) -> Iterator[dict[int, str]]:
    """Of each event, id → name of every string of it, under every field that may read it.

    What several events say is hashed once. What another event says names nothing of this one: its text may
    be one word, of which this one has but the place.
    """
    readers = {source: _readers(spec, source) for source in {source for event in events for source in event}}
    said = [_strings(readers, event) for event in events]
    pairs = list(dict.fromkeys(chain.from_iterable(said)))
    named = {(a, b): (id_, f"{a}={b}") for (a, b), id_ in zip(pairs, _pair_ids(pairs), strict=True)}
    for its in said:
        yield dict(map(named.__getitem__, its))


def _readers(spec: FeatureSpec, source: str) -> list[str]:
    """Names under which fields may read a source."""
    own = source.removeprefix(_FEATURES)
    fields = [field for field in spec.fields if field.source in (source, _REST)]
    return [field.name if field.source == source else own for field in fields]


def _strings(readers: Mapping[str, list[str]], event: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(field, text) of every string of an event."""
    found = []
    for source, value in event.items():
        if isinstance(value, str):
            found += [(name, value) for name in readers[source]]
        elif isinstance(value, list):
            found += [(name, text) for name in readers[source] for text in value if isinstance(text, str)]
    return found


def _pair_ids(pairs: Sequence[tuple[str, str]]) -> list[int]:
    """The ids of values under fields, of names of both."""
    ids = hash_texts([text for pair in pairs for text in pair]).reshape(-1, 2)
    _combine_each(ids)
    joined: list[int] = ids[:, 0].tolist()
    return joined


@njit(**JIT)
def _combine_each(ids: np.ndarray) -> None:
    """The pairs of uint64 (N, 2), each into its first place."""
    for i in range(len(ids)):
        ids[i, 0] = combine(ids[i, 0], ids[i, 1])


def _of_field(field: Field, ids: list[int], known: Mapping[int, str]) -> list[str]:
    if field.kind == "time":
        parts = [part for part in _TIME_PARTS if part in field.parts]
        return [f"{field.name}.{part}" for part in parts][: len(ids)]
    name = "other feature" if field.source == _REST else field.name
    if len(ids) == 1:
        return [known.get(ids[0], name)]
    return [known.get(id_, f"{name}[{i}]") for i, id_ in enumerate(ids)]


def _crossed(field: Field, names: list[str]) -> list[str]:
    """Of a number, its interval is crossed and nothing else."""
    return names[:1] if field.kind == "number" else names
