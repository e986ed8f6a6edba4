"""Times and sizes to work with, the same for both libraries."""

from typing import NamedTuple

__all__ = ["CONNECT_S", "Reading", "Writing"]

#: Opening waits this long for a first answer: longer than a broker takes to start, short enough for a
#: mistyped host.
CONNECT_S = 10.0


class Reading(NamedTuple):
    """How a consumer works."""

    committed_only: bool = True  # leave out open and aborted transactions
    answer_s: float = 15.0  # one question to the broker
    trouble_s: float = 3.0  # silence before `trouble` speaks
    session_s: float = 10.0  # a silent member's partitions go to others after this; brokers want at least 6
    poll_s: float = 300.0  # so do those of a member that has not called `poll` for this long
    refresh_s: float = 60.0  # a group notices new partitions after this
    #: A fetch that finds nothing is answered after this; records are answered at once. Short, since a resumed
    #: partition waits for the fetch under way.
    fetch_wait_ms: int = 100
    partition_bytes: int = 4 << 20  # one answer, one partition; more than 10,000 usual events
    fetch_bytes: int = 32 << 20  # one answer


class Writing(NamedTuple):
    """How a producer works."""

    compression: str | None = None  # or "lz4", "zstd", "gzip", "snappy"
    linger_ms: int = 5  # a batch waits this long for more: little beside a commit, enough for large batches
    batch_bytes: int = 256 << 10
    buffer_bytes: int = 32 << 20  # queued; then `send` waits
    full_s: float = 60.0  # and gives up after this
    deliver_s: float = 120.0  # a record that could not be delivered for this long has failed
    answer_s: float = 15.0  # one question to the broker
    #: A transaction that takes longer is aborted by the broker, since it holds up all readers behind it.
    #: Longer than a broker takes to restart.
    transaction_s: float = 30.0
    largest_bytes: int = 1 << 20  # one record; brokers' default
