"""How much a store does at once, and how often."""

from typing import NamedTuple

__all__ = ["Limits"]


class Limits(NamedTuple):
    """Sizes that a store works with."""

    #: Redis takes strings up to 512 MB, but copying one blocks it: 16 MiB take about 10 ms.
    part_bytes: int = 16 << 20
    #: A flush starts when this much waits …
    flush_bytes: int = 64 << 20
    #: … or after this long, so that little log is read at a start.
    flush_s: float = 30.0
    #: A flush in the background takes this share of the time, unless twice `flush_bytes` wait.
    flush_share: float = 0.25
    #: Learning waits for the flush when this much of the log is not flushed, whoever reads meanwhile.
    log_bytes: int = 512 << 20
    #: What stays in the log for scorers that are a little behind.
    tail_bytes: int = 16 << 20
    tail_commits: int = 256
    #: Rows of a bucket on average before it is split by 4. Redis packs a hash of up to 512 small fields (19
    #: bytes a row of 2 slots).
    mean_rows: int = 256
    #: Rows of one transaction: about 10 ms in which Redis answers nobody else.
    batch_rows: int = 8192
    #: Changes that are merged at once: 10 ms.
    merge_rows: int = 1 << 16
