"""Lines and requests to be scored, as examples: what learning and scoring read alike."""

from collections.abc import Sequence

import numpy as np

from streamrec.errors import RecordError
from streamrec.events.block import EXAMPLE, RATING, EventBlock, Examples
from streamrec.events.request import Request, RequestDecoder

__all__ = ["ExampleReader", "labelled"]

#: Feature names that the decoder may remember: far more than any spec has, bounded against made-up ones.
_MOST_NAMES = 10_000


class ExampleReader:
    """Reads with one decoder, whose memory is used again by whoever asks next.

    Args:
        text_fields: names of features that are split into words.

    """

    def __init__(self, text_fields: Sequence[str]) -> None:
        self._text_fields = text_fields
        self._decoder: RequestDecoder | None = None

    def examples(self, data: bytes) -> tuple[Examples, Sequence[str]]:
        """Those of N JSON lines, each an `example` event, and the names of their fields.

        Raises:
            RecordError: a line is no valid `example`.

        """
        decoder = self._known()
        block, rejections = decoder.decode(data)
        if rejections:
            raise RecordError(rejections[0].reason, data.count(b"\n", 0, rejections[0].start))
        if len(others := np.flatnonzero(block.type != EXAMPLE)):
            raise RecordError("not an example event", int(others[0]))
        return labelled(block), decoder.fields

    def request(self, body: bytes, most: int) -> Request | None:
        """As `RequestDecoder.decode_request`."""
        return self._known().decode_request(body, most)

    def _known(self) -> RequestDecoder:
        """The decoder; a new one where the last has met too many names."""
        if self._decoder is None or len(self._decoder.fields) > _MOST_NAMES:
            self._decoder = RequestDecoder(text_fields=self._text_fields)
        return self._decoder


def labelled(block: EventBlock) -> Examples:
    """A block of `example` events, or of others that have features, as examples."""
    return Examples(
        block.time_ms,
        block.key,
        block.user,
        block.item,
        block.value.astype(np.float32),
        block.weight,
        block.role,
        (block.type == RATING) | (block.value > 0),
        block.entry_offsets,
        block.entry_field,
        block.entry_kind,
        block.entry_value,
    )
