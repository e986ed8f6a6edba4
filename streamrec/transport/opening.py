"""How a source is opened, whatever its kind."""

from typing import NamedTuple

__all__ = ["Limits", "Opening"]


class Limits(NamedTuple):
    """How much is held in memory."""

    chunk_bytes: int = (
        4 << 20
    )  # read at a time: large against the cost of a call, small against memory and the cache
    max_line_bytes: int = 1 << 20  # the longest record that is accepted, as Kafka's default


class Opening(NamedTuple):
    """How a source is opened.

    Attributes:
        limits: how much is held in memory.
        live: go on when the present end of a live stream is reached.
        group: under whose name a live stream's readers are known to lag tools; None: nobody's.

    """

    limits: Limits = Limits()
    live: bool = False
    group: str | None = None
