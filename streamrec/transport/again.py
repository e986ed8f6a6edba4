"""A source whose beginning has been looked at, and comes once more."""

from collections.abc import Collection

from streamrec.transport.base import Chunk, LiveSource, Position, Source

__all__ = ["Again", "again"]


def again(source: Source) -> "Again":
    """The source, which remembers what is read until `rewind`, and gives it again after that."""
    return AgainLive(source) if isinstance(source, LiveSource) else Again(source)


class Again:
    """See `again`."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._read: list[Chunk] = []
        self._rewound = False
        self._at_end = False
        self.stream = source.stream
        self.progress, self.close = source.progress, source.close

    @property
    def partitions(self) -> Collection[str]:
        """Names of its partitions."""
        return self._source.partitions

    def rewind(self) -> None:
        """From here on, what was read comes again, then the rest."""
        self._rewound = True

    def seek(self, position: Position) -> None:
        """Continue from here: what was remembered is forgotten."""
        self._read = []
        self._source.seek(position)

    def read(self) -> Chunk | None:
        """The next chunk."""
        if self._rewound and self._read:
            return self._read.pop(0)
        if self._at_end:
            return None
        chunk = self._source.read()
        self._at_end = chunk is None
        if not self._rewound and chunk is not None and (chunk.data or chunk.damage):
            self._read.append(chunk)
        return chunk


class AgainLive(Again):
    """With what a live source has more."""

    def __init__(self, source: LiveSource) -> None:
        super().__init__(source)
        self._live = source
        self.lags, self.lag, self.acknowledge = source.lags, source.lag, source.acknowledge
        self.trouble = source.trouble

    def hold(self, partitions: Collection[str]) -> None:
        """Give nothing of these; what comes again comes all the same."""
        self._live.hold(partitions)

    def ended(self, partition: str) -> bool:
        """Whether nothing more will be given of this partition."""
        if self._rewound and any(chunk.partition == partition for chunk in self._read):
            return False
        return self._live.ended(partition)
