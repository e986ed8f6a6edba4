"""Records that cannot be used, kept with the reason, the place and the raw bytes."""

import base64
import codecs
import json
from pathlib import Path

from streamrec.transport.writer import LineWriter

__all__ = ["MAX_RAW_BYTES", "DeadLetters", "dead_letter"]

#: Longer raw bytes are cut: as much as a transport accepts as one record.
MAX_RAW_BYTES = 1 << 20

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dead_letter(reason: str, partition: str, offset: int, raw: bytes) -> bytes:
    """One rejected record as a JSON line: `reason, partition, offset, raw`.

    `raw_base64` stands for `raw` where the bytes are not UTF-8. Of a record longer than `MAX_RAW_BYTES`, the
    start is kept and `truncated` gives its length. No time is in it: a replay gives the same dead letters.

    >>> dead_letter("bad JSON", "events.jsonl", 120, b"{oops")
    b'{"reason":"bad JSON","partition":"events.jsonl","offset":120,"raw":"{oops"}\\n'
    """
    record: dict[str, str | int] = {"reason": reason, "partition": partition, "offset": offset}
    kept = raw[:MAX_RAW_BYTES]
    try:
        # Not final where it was cut: the cut may have split a character, whose bytes are then left out.
        record["raw"] = codecs.getincrementaldecoder("utf-8")().decode(kept, len(kept) == len(raw))
    except UnicodeDecodeError:
        record["raw_base64"] = base64.b64encode(kept).decode("ascii")
    if len(kept) < len(raw):
        record["truncated"] = len(raw)
    return _encode(record).encode("utf-8", "backslashreplace") + b"\n"


class DeadLetters:
    """Where rejected records go: a file, or nowhere (they are still counted by whoever rejects them).

    resume_at: the `position()` that was committed; what was written after it is cut off, to be written again.

    Raises:
        UsageError: the file cannot be written, or is shorter than `resume_at`.

    """

    def __init__(self, path: str | Path | None, *, resume_at: int = 0) -> None:
        self._writer = None if path is None else LineWriter(path, resume_at=resume_at)

    @property
    def kept(self) -> bool:
        """Whether they go to a file."""
        return self._writer is not None

    def write(self, reason: str, partition: str, offset: int, raw: bytes) -> None:
        """Keep one record."""
        if self._writer is not None:
            self._writer.write(dead_letter(reason, partition, offset, raw))

    def position(self) -> int:
        """Bytes written so far, which survive the death of this process; 0 where they go nowhere."""
        return self._writer.position() if self._writer is not None else 0

    def flush(self) -> None:
        """Return once everything written is durable."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Flush and free."""
        if self._writer is not None:
            self._writer.close()
