"""The joiner of a stream whose output is a stream again: lines in, lines of examples and items out."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from streamrec.events.block import ITEM, EventBlock
from streamrec.join.decode import Decoded
from streamrec.join.joiner import Joined, Joiner, Refused
from streamrec.join.lines import carrying_lines, example_lines
from streamrec.join.places import Places
from streamrec.join.select import sliced
from streamrec.join.settings import JoinSettings

__all__ = ["JoinedLines", "LineJoiner"]


class JoinedLines(NamedTuple):
    """What one step gave, each in the order in which it was decided."""

    lines: list[bytes]  # no newlines
    labels: np.ndarray  # float32: of the examples among the lines
    refused: list[Refused]  # `decided` as in the joiner


class LineJoiner:
    """As `Joiner`; items pass through, in their place among the examples.

    Args:
        settings: of joining.
        checkpoint: what the joiner's `checkpoint` gave; None: from the beginning.

    """

    def __init__(self, settings: JoinSettings, checkpoint: Mapping[str, Any] | None = None) -> None:
        self.joiner = Joiner(settings, checkpoint)
        #: A rebuild gives nothing before this event.
        self.until: int = checkpoint["until"] if checkpoint else 0

    def push(self, decoded: Decoded) -> JoinedLines:
        """Take the next events; what is no event stays with the caller."""
        block, places = carrying_lines(decoded.block, decoded.data), decoded.places
        lines, labels, refused, begin = list[bytes](), list[np.ndarray](), list[Refused](), 0
        for item in [*np.flatnonzero(block.type == ITEM).tolist(), None]:
            end = len(block) if item is None else item + 1
            joined = self._join(block, decoded.data, places, (begin, end))
            lines += example_lines(joined.examples)
            labels.append(joined.examples.labels)
            refused += joined.refused
            if item is not None and self.joiner.n_events > self.until:
                lines.append(decoded.line(item))
            begin = end
        return JoinedLines(lines, np.concatenate(labels), refused)

    def finish(self) -> JoinedLines:
        """The stream is at its end: what waits is closed."""
        joined = self.joiner.finish()
        return JoinedLines(example_lines(joined.examples), joined.examples.labels, joined.refused)

    def _join(self, block: EventBlock, data: bytes, places: Places, span: tuple[int, int]) -> Joined:
        """Some of the events; what is refused has its place in the whole block."""
        begin, end = span
        if span != (0, len(block)):
            block, places = sliced(block, begin, end), places.sliced(begin, end)
        joined = self.joiner.push(block, data, places)
        refused = [each._replace(decided=each.decided + begin) for each in joined.refused]
        return Joined(joined.examples, refused)
