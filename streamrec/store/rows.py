"""Keyed rows in bucketed hashes: encoded and decoded by the megabyte, without a Python object a row.

A record of a row is the same number of bytes wherever it stands, in an HSET as in the answer to HGETALL:

    $7\\r\\n ‹7 low bytes of the id, big-endian› \\r\\n$W\\r\\n ‹row, float32 little-endian› \\r\\n

so numpy writes and reads them as the rows of a byte matrix.
"""

from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import NamedTuple

import numpy as np

from streamrec.errors import StoreError, StoreMismatch, StoreUnavailable
from streamrec.store.base import Rows
from streamrec.store.keys import Keys, Space
from streamrec.store.wire import ServerWire, Wire

__all__ = [
    "MIN_BITS",
    "RUNG",
    "Answers",
    "Batch",
    "Moved",
    "batch_commands",
    "buckets_of",
    "delete_commands",
    "fields_of",
    "read_space",
    "set_commands",
    "space_bits",
]

#: Fewest buckets: each group has one. The ladder has rungs of 2 bits, so a row is moved 4 times on the way
#: from 10⁵ to 10⁷ rows.
MIN_BITS, RUNG = 8, 2
_FIELD_BYTES = 7
#: Rows of one piece read: 64 Ki rows of 2 slots are 2 MB of answers.
PIECE_ROWS = 1 << 16
_DELETE = b"HDEL"
_SET = b"HSET"


class Batch(NamedTuple):
    """Commands to send in one transaction."""

    data: bytes  # encoded
    groups: list[int]  # whose fences must be watched
    #: (field of the space, +1 for rows set and −1 for rows deleted, commands), in the commands' order
    effects: list[tuple[str, int, int]]


@cache
def _record(row_bytes: int) -> np.ndarray:
    """One record with zeros for id and row, uint8."""
    text = b"$7\r\n" + bytes(_FIELD_BYTES) + b"\r\n$%d\r\n" % row_bytes + bytes(row_bytes) + b"\r\n"
    return np.frombuffer(text, np.uint8)


def _row_at(row_bytes: int) -> int:
    return 4 + _FIELD_BYTES + 2 + len(b"$%d\r\n" % row_bytes)


def space_bits(rows: int, mean: int) -> int:
    """Bits of the ladder at which that many rows are at most `mean` a bucket."""
    bits = MIN_BITS
    while rows > mean << bits:
        bits += RUNG
    return bits


def buckets_of(ids: np.ndarray, bits: int) -> np.ndarray:
    """The bucket number of each id, int64 (N,)."""
    return (ids >> np.uint64(64 - bits)).astype(np.int64)


def fields_of(ids: np.ndarray) -> np.ndarray:
    """The 7 low bytes of each id, big-endian, uint8 (N, 7)."""
    return ids.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 1:]


def set_commands(keys: Keys, space: Space, ids: np.ndarray, rows: np.ndarray) -> list[bytes]:
    """HSETs that write these rows; ids must be sorted."""
    row_bytes = 4 * space.width
    at = _row_at(row_bytes)
    records = np.tile(_record(row_bytes), (len(ids), 1))
    records[:, 4 : 4 + _FIELD_BYTES] = fields_of(ids)
    records[:, at : at + row_bytes] = (
        np.ascontiguousarray(rows, np.float32).view(np.uint8).reshape(len(ids), row_bytes)
    )
    return _commands(_SET, keys, space, ids, records, 2)


def delete_commands(keys: Keys, space: Space, ids: np.ndarray) -> list[bytes]:
    """HDELs of these ids; they must be sorted."""
    records = np.tile(np.frombuffer(b"$7\r\n" + bytes(_FIELD_BYTES) + b"\r\n", np.uint8), (len(ids), 1))
    records[:, 4 : 4 + _FIELD_BYTES] = fields_of(ids)
    return _commands(_DELETE, keys, space, ids, records, 1)


def _commands(
    name: bytes, keys: Keys, space: Space, ids: np.ndarray, records: np.ndarray, per_record: int
) -> list[bytes]:
    """One command a bucket: its arguments are the bucket's records."""
    if not len(ids):
        return []
    buckets = buckets_of(ids, space.bits)
    starts = np.flatnonzero(np.append(True, buckets[1:] != buckets[:-1]))
    ends = np.append(starts[1:], len(ids))
    data, size = records.tobytes(), records.shape[1]
    commands = []
    for bucket, start, end in zip(buckets[starts].tolist(), starts.tolist(), ends.tolist(), strict=True):
        key = keys.bucket(space.token, space.bits, bucket).encode()
        arguments = 2 + per_record * (end - start)
        commands.append(
            b"*%d\r\n$4\r\n%s\r\n$%d\r\n%s\r\n" % (arguments, name, len(key), key)
            + data[start * size : end * size]
        )
    return commands


def batch_commands(keys: Keys, served: Space | None, shadow: Space | None, rows: Rows) -> Batch:
    """Brings these ids (sorted, each once) up to date: a row in exactly one space, a deleted one in none."""
    commands: list[bytes] = []
    effects: list[tuple[str, int, int]] = []
    for space, here in ((served, ~rows.shadow), (shadow, rows.shadow)):
        if space is None:
            continue
        set_here = set_commands(keys, space, rows.ids[here], rows.rows[here])
        gone = np.sort(np.concatenate([rows.ids[~here], rows.deleted]))
        deleted_here = delete_commands(keys, space, gone)
        effects += [(space.field, 1, len(set_here)), (space.field, -1, len(deleted_here))]
        commands += set_here + deleted_here
    touched = buckets_of(np.concatenate([rows.ids, rows.deleted]), MIN_BITS)
    return Batch(b"".join(commands), np.unique(touched).tolist(), effects)


def read_space(wire: Wire, keys: Keys, space: Space, group: int | None = None) -> Iterator[Rows]:
    """All rows of a space, or of one group of it, in pieces, ordered by bucket.

    Raises:
        StoreMismatch: a bucket does not hold rows of this width.

    """
    # opens a connection again that died while it was idle: raw answers cannot be asked for twice
    wire.call("PING")
    first, count = 0, 1 << space.bits
    step = max(1, min(count, PIECE_ROWS * count // max(space.rows, 1)))
    if group is not None:
        first, count = (each << (space.bits - MIN_BITS) for each in (group, group + 1))
    reader = _Reader(wire, keys, space)
    asked = taken = first
    try:
        while taken < count:
            # the server prepares the next piece while this one is decoded
            while asked < min(count, taken + 2 * step):
                end = min(count, asked + step)
                reader.ask(range(asked, end))
                asked = end
            end = min(count, taken + step)
            try:
                piece = reader.rows(range(taken, end))
            except Moved:
                piece = reader.follow(range(taken, end))
                asked = end
            taken = end
            if len(piece.ids):
                yield piece
    finally:
        if asked > taken:
            wire.close()  # answers that nobody will take are still in it


class Moved(StoreUnavailable):
    """Another node of the cluster has this key now, or is about to get it."""


class _Reader:
    """Rows of one space, asked for from all the servers that they are on and put in order of bucket again."""

    def __init__(self, wire: Wire, keys: Keys, space: Space) -> None:
        self._wire = wire
        self._keys = keys
        self._space = space
        self._record = _record(4 * space.width)
        self._answers: dict[ServerWire, Answers] = {}
        #: Where each bucket was asked for that is not taken yet.
        self._asked: dict[int, Answers] = {}

    def ask(self, numbers: range) -> None:
        """Send for the buckets with these numbers."""
        shares: dict[ServerWire, list[bytes]] = {}
        for _, group in groupby(numbers, lambda number: number >> (self._space.bits - MIN_BITS)):
            same = list(group)
            node = self._wire.at(self._key(same[0]))
            if node not in self._answers:
                self._answers[node] = Answers(node)
            self._asked.update(dict.fromkeys(same, self._answers[node]))
            shares.setdefault(node, []).extend(_get_all(self._key(number)) for number in same)
        for node, commands in shares.items():
            node.send(b"".join(commands))

    def rows(self, numbers: range) -> Rows:
        """The rows of these buckets, which were asked for.

        Raises:
            Moved: one of them is on another node.

        """
        chunks, counts = [], []
        for number in numbers:
            answers = self._asked.pop(number)
            with answers.wire.answering():
                count, chunk = answers.bucket(len(self._record))
                if not answers.plausible(chunk, len(self._record)):
                    raise _not_rows(self._space, self._key(number))
            chunks.append(chunk)
            counts.append(count)
        return _decode(b"".join(chunks), self._space, np.repeat(np.asarray(numbers), counts))

    def follow(self, numbers: range) -> Rows:
        """The same by single commands, which go where the buckets are now; drops what else was asked for."""
        self._wire.close()
        self._answers.clear()
        self._asked.clear()
        answers = self._wire.calls([("HGETALL", self._key(number)) for number in numbers])
        row_bytes = 4 * self._space.width
        chunks = [
            b"$7\r\n%s\r\n$%d\r\n%s\r\n" % (field, row_bytes, row)
            for pairs in answers
            for field, row in zip(pairs[::2], pairs[1::2], strict=True)
        ]
        data, counts = b"".join(chunks), [len(pairs) // 2 for pairs in answers]
        if len(data) != len(self._record) * sum(counts):
            raise _not_rows(self._space, self._key(numbers[0]))
        return _decode(data, self._space, np.repeat(np.asarray(numbers), counts))

    def _key(self, number: int) -> str:
        return self._keys.bucket(self._space.token, self._space.bits, number)


def _get_all(key: str) -> bytes:
    name = key.encode()
    return b"*2\r\n$7\r\nHGETALL\r\n$%d\r\n%s\r\n" % (len(name), name)


def _not_rows(space: Space, key: str) -> StoreMismatch:
    return StoreMismatch(
        f"{key}: expected rows of {space.width} slots, got something else: start over with --fresh"
    )


class Answers:
    """Raw answers, read from the socket into one buffer.

    Args:
        wire: the connection.
        room: bytes of the buffer; it grows where an answer needs more.

    """

    def __init__(self, wire: ServerWire, room: int = 1 << 20) -> None:
        self.wire = wire
        self._buffer = bytearray(room)
        self._start = self._end = 0

    def bucket(self, size: int) -> tuple[int, bytes]:
        """Number and records, of this size, of the rows in the next bucket."""
        line = self.line()
        if line[:1] != b"*":
            trouble = self.trouble(line)
            if isinstance(trouble, StoreUnavailable):
                raise trouble
            return 1, line  # an error in place of the rows: told by `plausible`
        count = int(line[1:]) // 2
        return count, self.take(count * size)

    def array(self) -> list[bytes | None]:
        """The next answer, an array of strings."""
        line = self.line()
        if line[:1] != b"*":
            raise self.trouble(line) or StoreMismatch(f"expected an array from Redis, got {line!r}")
        return [self.text() for _ in range(int(line[1:]))]

    def text(self) -> bytes | None:
        """The next answer, a string; None: there is none."""
        line = self.line()
        if line[:1] != b"$":
            raise self.trouble(line) or StoreMismatch(f"expected a string from Redis, got {line!r}")
        size = int(line[1:])
        return self.take(size + 2)[:size] if size >= 0 else None

    def trouble(self, line: bytes) -> StoreError | None:
        """What the server says in place of an answer that begins with this line; None: it is no error.

        `Moved` where another node has what was asked for.
        """
        if line[:1] != b"-":
            return None
        known = self.wire.refused(Exception(line[1:].decode(errors="replace")))
        return Moved(str(known)) if line.startswith((b"-MOVED ", b"-ASK ")) else known

    @staticmethod
    def plausible(chunk: bytes, size: int) -> bool:
        """Whether these may be records of this size."""
        return len(chunk) % size == 0 and (not chunk or (chunk[:4] == b"$7\r\n" and chunk[-2:] == b"\r\n"))

    def skip(self, expected: bytes) -> bool:
        """Whether the next answers, encoded, are these; then they are taken.

        No answer begins as a longer one does, so this waits for nothing that does not come.
        """
        while not self._buffer.startswith(expected, self._start, self._end):
            there = self._end - self._start
            if there >= len(expected) or not expected.startswith(
                bytes(memoryview(self._buffer)[self._start : self._end])
            ):
                return False
            self._more()
        self._start += len(expected)
        return True

    def line(self) -> bytes:
        """The next line, without its end."""
        while (at := self._buffer.find(b"\r\n", self._start, self._end)) < 0:
            self._more()
        line = bytes(self._buffer[self._start : at])
        self._start = at + 2
        return line

    def take(self, size: int) -> bytes:
        """The next bytes."""
        while self._end - self._start < size:
            self._more()
        taken = bytes(memoryview(self._buffer)[self._start : self._start + size])
        self._start += size
        return taken

    def _more(self) -> None:
        if self._start:
            kept = self._end - self._start
            self._buffer[:kept] = self._buffer[self._start : self._end]
            self._start, self._end = 0, kept
        if self._end == len(self._buffer):
            self._buffer.extend(bytes(len(self._buffer)))
        with memoryview(self._buffer) as view:
            self._end += self.wire.receive(view[self._end :])


def _decode(data: bytes, space: Space, numbers: np.ndarray) -> Rows:
    """Rows from their records; `numbers`: the bucket of each."""
    row_bytes = 4 * space.width
    record = _record(row_bytes)
    records = np.frombuffer(data, np.uint8).reshape(-1, len(record))
    at = _row_at(row_bytes)
    fixed = np.ones(len(record), np.bool_)
    fixed[4 : 4 + _FIELD_BYTES] = False
    fixed[at : at + row_bytes] = False
    if (records[:, fixed] != record[fixed]).any():
        raise StoreMismatch(
            f"table {space.table!r}: a bucket holds something else than rows: start over with --fresh"
        )
    ids = np.empty((len(records), 8), np.uint8)
    ids[:, 0] = numbers >> (space.bits - 8)
    ids[:, 1:] = records[:, 4 : 4 + _FIELD_BYTES]
    rows = np.ascontiguousarray(records[:, at : at + row_bytes]).view(np.float32)
    big_endian = ids.view(">u8").ravel()
    shadow = np.full(len(records), space.shadow)
    return Rows(big_endian.astype(np.uint64), rows, shadow, np.empty(0, np.uint64))
