"""Where the rows of a table are, and the commands that read single ones."""

from collections.abc import Sequence

import numpy as np

from streamrec.errors import StoreMismatch
from streamrec.store.keys import Keys, Space
from streamrec.store.rows import Answers, buckets_of, fields_of

__all__ = ["Place"]

_FIELD_BYTES = 7


class Place:
    """The buckets of a space, and how rows in them are asked for.

    A command is but for its field the same for all ids of a bucket; made once, some hundred bytes.

    Args:
        keys: of the model.
        space: its width may be 0, which is not known yet: then the first row tells.

    """

    def __init__(self, keys: Keys, space: Space) -> None:
        self.space = space
        self._keys = keys
        self._starts: dict[int, bytes] = {}

    def is_at(self, space: Space | None) -> bool:
        """Whether the rows are still there."""
        own = self.space
        return space is not None and (space.token, space.bits, space.width) == (
            own.token,
            own.bits,
            own.width,
        )

    def commands(self, ids: np.ndarray) -> bytes:
        """One HGET for each id, encoded."""
        fields = fields_of(ids).tobytes()
        parts: list[bytes] = []
        for at, bucket in enumerate(buckets_of(ids, self.space.bits).tolist()):
            start = self._starts.get(bucket) or self._start(bucket)
            parts += start, fields[_FIELD_BYTES * at : _FIELD_BYTES * (at + 1)], b"\r\n"
        return b"".join(parts)

    def calls(self, ids: np.ndarray) -> list[tuple[str, str, bytes]]:
        """The same, not encoded."""
        fields = fields_of(ids).tobytes()
        return [
            ("HGET", self._key(bucket), fields[_FIELD_BYTES * at : _FIELD_BYTES * (at + 1)])
            for at, bucket in enumerate(buckets_of(ids, self.space.bits).tolist())
        ]

    def take(self, answers: Answers, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The answers to `commands`: ids that have a row, and their rows float32 (N, width).

        Raises:
            StoreMismatch: something else than rows of this width is there.

        """
        size = 4 * self.space.width
        expected, there, rows = b"$%d" % size if size else b"", np.zeros(len(ids), np.bool_), []
        for i in range(len(ids)):
            line = answers.line()
            if line != expected:
                if line == b"$-1":
                    continue
                if line[:1] != b"$":
                    raise answers.trouble(line) or self._no_rows()
                size, expected = self._learn(int(line[1:])), line
            rows.append(answers.take(size + 2)[:size])
            there[i] = True
        return ids[there], self._array(rows)

    def taken(self, ids: np.ndarray, values: Sequence[bytes | None]) -> tuple[np.ndarray, np.ndarray]:
        """The same of the answers to `calls`."""
        rows = [value for value in values if value is not None]
        for row in rows:
            if not row or len(row) != 4 * self.space.width:
                self._learn(len(row))
        return ids[[value is not None for value in values]], self._array(rows)

    def _key(self, bucket: int) -> str:
        return self._keys.bucket(self.space.token, self.space.bits, bucket)

    def _start(self, bucket: int) -> bytes:
        key = self._key(bucket).encode()
        self._starts[bucket] = start = b"*3\r\n$4\r\nHGET\r\n$%d\r\n%s\r\n$7\r\n" % (len(key), key)
        return start

    def _learn(self, size: int) -> int:
        """A row of this many bytes is here; returns that."""
        if self.space.width or size % 4 or not size:
            raise self._no_rows()
        self.space = self.space._replace(width=size // 4)
        return size

    def _array(self, rows: list[bytes]) -> np.ndarray:
        return np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), self.space.width)

    def _no_rows(self) -> StoreMismatch:
        return StoreMismatch(
            f"table {self.space.table!r}: expected rows of {self.space.width or 'some'} slots, got something "
            "else: start over with --fresh"
        )
