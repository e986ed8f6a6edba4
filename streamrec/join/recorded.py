"""Joining a recorded stream: its examples become a recorded stream, at once or not at all."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from streamrec.errors import UsageError
from streamrec.join.decode import Decoded
from streamrec.join.joiner import Refused
from streamrec.join.line_joiner import JoinedLines, LineJoiner
from streamrec.join.settings import JoinSettings
from streamrec.transport.deadletter import DeadLetters
from streamrec.transport.writer import write_stream

__all__ = ["RecordedJoin", "join_recorded"]


class RecordedJoin(NamedTuple):
    """What became of a recorded stream."""

    events: int
    examples: int
    rejected: int


def join_recorded(
    stream: Iterator[Decoded | None], target: Path, letters: DeadLetters, settings: JoinSettings
) -> RecordedJoin:
    """Join a stream to its end into a file, which is there only once it is whole.

    Args:
        stream: its records, in order; None where there is nothing for a while.
        target: .jsonl, .jsonl.gz or .jsonl.zst.
        letters: where to put what cannot be used.
        settings: of joining.

    Raises:
        UsageError: the file cannot be written.

    """
    joiner = LineJoiner(settings)
    n_examples = n_rejected = 0
    partial = target.with_name(f".partial-{target.name}")
    try:
        with write_stream(str(partial)) as out:

            def take(joined: JoinedLines, others: list[Refused]) -> None:
                nonlocal n_examples, n_rejected
                out.write(b"".join([line + b"\n" for line in joined.lines]))
                refused = sorted([*others, *joined.refused], key=lambda each: each.decided)
                for each in refused:
                    letters.write(each.reason, each.partition, each.offset, each.raw)
                n_examples, n_rejected = n_examples + len(joined.labels), n_rejected + len(refused)

            for decoded in stream:
                if decoded is not None:
                    take(joiner.push(decoded), list(decoded.refused))
            take(joiner.finish(), [])
        os.replace(partial, target)
    except OSError as fault:
        raise UsageError(f"{target}: cannot be written: {fault.strerror or fault}") from None
    finally:
        partial.unlink(missing_ok=True)
    return RecordedJoin(joiner.joiner.n_events, n_examples, n_rejected)
