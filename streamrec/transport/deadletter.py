"""Records that cannot be used, kept with the reason, the place and the raw bytes."""

import base64
import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from streamrec.transport.writer import LineWriter

__all__ = ["MAX_RAW_BYTES", "DeadLetters", "FileLetters", "Mark", "NoLetters", "dead_letter"]

#: Longer raw bytes are cut: as much as a transport accepts as one record.
MAX_RAW_BYTES = 1 << 20

#: A place among dead letters, as JSON: what a commit keeps, and a later run goes on from.
Mark = Any

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dead_letter(
    reason: str, partition: str, offset: int, raw: bytes, *, max_raw_bytes: int = MAX_RAW_BYTES
) -> bytes:
    """One rejected record as a JSON line: `reason, partition, offset, raw`.

    `raw_base64` stands for `raw` where the bytes are not UTF-8. Of a record longer than `max_raw_bytes`, the
    start is kept and `truncated` gives its length. No time is in it: a replay gives the same dead letters.

    >>> dead_letter("bad JSON", "events.jsonl", 120, b"{oops")
    b'{"reason":"bad JSON","partition":"events.jsonl","offset":120,"raw":"{oops"}\\n'
    """
    record: dict[str, str | int] = {"reason": reason, "partition": partition, "offset": offset}
    kept = raw[:max_raw_bytes]
    try:
        # Not final where it was cut: the cut may have split a character, whose bytes are then left out.
        record["raw"] = codecs.getincrementaldecoder("utf-8")().decode(kept, len(kept) == len(raw))
    except UnicodeDecodeError:
        record["raw_base64"] = base64.b64encode(kept).decode("ascii")
    if len(kept) < len(raw):
        record["truncated"] = len(raw)
    return _encode(record).encode("utf-8", "backslashreplace") + b"\n"


class DeadLetters(Protocol):
    """Where rejected records go, each exactly once across crashes.

    Keep the mark with the state that the letters belong to, and open with it: what a process wrote that was
    killed before its next commit is not there twice when it is rejected again.
    """

    @property
    def name(self) -> str:
        """Under which a commit keeps the mark; empty where nothing is kept."""
        ...

    @property
    def needs_commit(self) -> bool:
        """Whether a mark must be stored before the first letter is written."""
        ...

    @property
    def full(self) -> bool:
        """Whether so much waits that it should be cut now."""
        ...

    def write(self, reason: str, partition: str, offset: int, raw: bytes) -> None:
        """Keep one record."""
        ...

    def cut(self) -> Callable[[], Mark]:
        """End a batch of letters here.

        The result makes it survive the death of this process and gives the mark after it. Call it from any
        thread, one batch after another; after an error, call it again.
        """
        ...

    def close(self) -> None:
        """Free what is open; what was not cut and made durable is not kept."""
        ...


class NoLetters:
    """Nowhere: rejected records are only counted, by whoever rejects them."""

    name, needs_commit, full = "", False, False

    def write(self, reason: str, partition: str, offset: int, raw: bytes) -> None:
        """Nothing."""

    def cut(self) -> Callable[[], Mark]:
        """Nothing."""
        return lambda: None

    def close(self) -> None:
        """Nothing."""


class FileLetters:
    """A file of JSON lines; its mark is its size.

    mark: what was written after it is cut off, to be written again.

    Raises:
        UsageError: the file cannot be written, or is shorter than the mark says.

    """

    name, needs_commit, full = "file", False, False

    def __init__(self, path: str | Path, mark: Mark = None) -> None:
        self._writer = LineWriter(path, resume_at=mark or 0)

    def write(self, reason: str, partition: str, offset: int, raw: bytes) -> None:
        """Keep one record."""
        self._writer.write(dead_letter(reason, partition, offset, raw))

    def cut(self) -> Callable[[], Mark]:
        """What is written to the file survives this process."""
        position = self._writer.position()
        return lambda: position

    def close(self) -> None:
        """Flush and free."""
        self._writer.close()
