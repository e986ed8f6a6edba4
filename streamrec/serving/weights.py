"""The largest weights of a model, found while it is served, and names for ids from what was scored."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from streamrec.events.decoder import BlockDecoder
from streamrec.models.deep.ranking import RankingModel
from streamrec.models.ftrl import INTERCEPT
from streamrec.models.linear_part import LinearPart, weights
from streamrec.models.parts import parts_of
from streamrec.models.pipeline import Pipeline
from streamrec.serving.names import value_names
from streamrec.serving.scorer import Scorer
from streamrec.state.table import SparseTable

__all__ = ["Largest", "largest", "names_of", "previewed"]

_LINEAR = "weight of a value in the evidence (times the value it is the contribution to the log-odds)"
_LENGTH = "length of a value's vector"
_INTERCEPT = {int(INTERCEPT): "(intercept)"}


class Largest(NamedTuple):
    """The rows of a model that are largest."""

    measure: str
    rows: int  # looked at
    top: list[dict[str, Any]]  # id (16 hexadecimal digits) and weight, largest first


class _Sized(NamedTuple):
    """A table whose rows have a size."""

    table: SparseTable
    size: Callable[[np.ndarray], np.ndarray]  # of rows float32 (N, W), float64 (N,)


def largest(scorer: Scorer, n: int) -> Largest:
    """The n rows of greatest absolute size, a segment at a time; other readers pass in between.

    Raises:
        StoreUnavailable: there is no complete generation, or not one during the look.

    """
    with scorer.reading() as (mirror, _):
        measure, tables = _tables(mirror)
    ids, sizes, rows = np.empty(0, np.uint64), np.empty(0), 0
    for table, size in tables:
        pieces = table.pieces()
        while True:
            with scorer.reading():  # of a mirror that was replaced meanwhile, nobody writes any more
                piece = next(pieces, None)
            if piece is None:
                break
            rows += len(piece[0])
            ids, sizes = np.append(ids, piece[0]), np.append(sizes, size(piece[1]))
            best = np.argsort(-np.abs(sizes), kind="stable")[:n]
            ids, sizes = ids[best], sizes[best]
    kept = np.flatnonzero(sizes).tolist()
    return Largest(measure, rows, [{"id": f"{int(ids[i]):016x}", "weight": float(sizes[i])} for i in kept])


def _tables(mirror: Any) -> tuple[str, list[_Sized]]:
    """What is shown of this model: weights of its linear parts, or where it has none, vectors."""
    if not isinstance(mirror, Pipeline):
        return _LINEAR, []
    parts = [part for part, _ in parts_of(mirror.model, mirror.extractor.n_fields)]
    linear = [part for part in parts if isinstance(part, LinearPart)]
    if linear:
        return _LINEAR, [_Sized(part.table, _weigher(part)) for part in linear]
    found = []
    for part in parts:
        width = getattr(part.embedding, "width", None) if isinstance(part, RankingModel) else None
        if width is not None:
            tables = part.embedding_parameters.values()
            found += [_Sized(t, _measurer(width)) for t in tables if isinstance(t, SparseTable)][:1]
    return _LENGTH, found


def _weigher(part: LinearPart) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: weights(rows, part.parameters)


def _measurer(width: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: np.linalg.norm(rows[:, :width].astype(np.float64), axis=1)


def previewed(scorer: Scorer, lines: Sequence[bytes]) -> tuple[Any, Any]:
    """The pipeline, None where the mirror is none, and the batch of these lines as it sees them now.

    The batch is None where there is nothing to see, or the model can no longer read them.
    """
    with scorer.reading() as (mirror, _):
        if not isinstance(mirror, Pipeline):
            return None, None
        decoder = BlockDecoder(text_fields=mirror.extractor.text_fields)
        block, rejections = decoder.decode(b"".join(lines))
        batch = None if rejections or not lines else mirror.preview(block, decoder.fields)
        return mirror, batch


def names_of(scorer: Scorer, lines: Sequence[bytes]) -> dict[int, str]:
    """Id → name of every value and cross in these lines."""
    pipeline, batch = previewed(scorer, lines)
    if batch is None:
        return dict(_INTERCEPT)
    names = value_names(pipeline.spec, batch, list(map(_values, lines)))
    return _INTERCEPT | dict(zip(batch.ids.tolist(), names, strict=True))


def _values(line: bytes) -> dict[str, Any]:
    """What an event says, by source."""
    event = json.loads(line)
    named = {f"features.{name}": value for name, value in event.get("features", {}).items()}
    return {"user": event.get("user"), "item": event.get("item"), **named}
