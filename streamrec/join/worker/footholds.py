"""Where a rebuild may begin when records that it needs were deleted: what is left of what is needed.

A rebuild begins where a generation of the joiner does, up to four `memory_events` back, which may be longer
than a topic keeps its records. From a later place it forgets ids that came before, and what waited there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Foothold", "added", "earliest"]

#: So many go with every transaction's record; at worst a third of what there is cannot be used.
_MOST = 6


class Foothold(NamedTuple):
    """A place between two transactions."""

    n_events: int  # joined before it
    position: Mapping[str, int]  # by partition, what comes next
    scalars: Mapping[str, int]  # `Joiner.scalars` there

    def as_json(self) -> list[Any]:
        """As it is stored."""
        return [self.n_events, dict(self.position), dict(self.scalars)]


def added(footholds: Sequence[Foothold], new: Foothold, begins_at: int) -> list[Foothold]:
    """The footholds after another transaction.

    begins_at: events before the place from which a rebuild begins now.
    """
    kept = [each for each in footholds if each.n_events > begins_at]
    if kept and new.n_events - kept[-1].n_events < (new.n_events - begins_at) // _MOST:
        return kept
    kept.append(new)
    return kept if len(kept) <= _MOST else kept[1::2]


def earliest(footholds: Sequence[Foothold], begins: Mapping[str, int]) -> Foothold | None:
    """The first of which all records are there; begins: by partition, the first record that is."""
    for each in footholds:
        if all(each.position.get(name, begin) >= begin for name, begin in begins.items()):
            return each
    return None
