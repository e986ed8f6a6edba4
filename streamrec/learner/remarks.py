"""What the log says of a stream while it is learned, each thing once or a few times."""

import logging
from collections.abc import Iterable

from streamrec.events.decoder import BlockDecoder
from streamrec.join.joiner import Refused
from streamrec.transport.base import Position

__all__ = ["Remarks"]

_log = logging.getLogger("streamrec")

#: Rejected records of which a run tells: enough to see what is wrong, few enough to read.
_TELL_REJECTS = 5


class Remarks:
    """Of one run."""

    def __init__(self) -> None:
        self._n_refused = self._n_other_items = 0
        self._fields: set[str] = set()

    def refused(self, letter: Refused) -> None:
        """A record cannot be used."""
        self._n_refused += 1
        if self._n_refused <= _TELL_REJECTS:
            _log.warning("%s, position %d: not used: %s", letter.partition, letter.offset, letter.reason)
        elif self._n_refused == _TELL_REJECTS + 1:
            _log.warning("further records that cannot be used are counted, and kept where --rejects says")

    def unknown_fields(self, names: Iterable[str], position: Position) -> None:
        """Features came up to this position that the model was made without."""
        for name in names:
            if name not in self._fields:
                self._fields.add(name)
                _log.warning(
                    "feature %r appeared before position %s, but the model was made without it: "
                    "it is not learned; name it in the settings file and start over with --fresh to use it",
                    name,
                    position,
                )

    def other_items(self, decoder: BlockDecoder, *, at_end: bool = False) -> None:
        """Catalogue events name two items, if they do: the first time, and how often at the end."""
        n, told = decoder.n_other_items, self._n_other_items
        if n > told and (not told or at_end):
            _log.warning("%d event(s) of type item name two items, the first: %s", n, decoder.other_item)
            self._n_other_items = n

    def short_stream(self, n_waited: int, window_ms: int) -> None:
        """At its end most impressions were still waiting."""
        _log.warning(
            "%d impressions were still waiting for their click when the stream ended: "
            "it is shorter than the join window of %g s, so all clicked ones were learned first "
            "and the metrics mean little; set a shorter window_ms in [join]",
            n_waited,
            window_ms / 1000,
        )
