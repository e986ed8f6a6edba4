"""The linear parts and networks that a model is made of, whatever it is made of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from streamrec.models.blend import BlendModel
from streamrec.models.calibration import CalibratedModel
from streamrec.models.wide_deep import Sum

__all__ = ["SeenPart", "parts_of"]


class SeenPart(NamedTuple):
    """A part, and what it sees of an example."""

    part: Any  # a network, or a linear part
    bags: int  # the first ones


def parts_of(model: Any, bags: int) -> Iterator[SeenPart]:
    """All of them, in their order.

    Args:
        model: of any kind.
        bags: of an example.

    """
    if isinstance(model, CalibratedModel):
        yield from parts_of(model.model, bags)
        return
    if isinstance(model, BlendModel):
        for voice in model.parts.values():
            yield from parts_of(voice.model, voice.bags)
        return
    if hasattr(model, "ranker"):  # of a model that retrieves, too
        yield from parts_of(model.ranker, bags)
        return
    for part in model.part.parts.values() if isinstance(model.part, Sum) else [model.part]:
        yield SeenPart(part, bags)
