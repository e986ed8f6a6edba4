"""How far a learner is, as it is told to progress bars, logs and Prometheus."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from streamrec.store.base import Head

__all__ = ["Report"]


class Report(NamedTuple):
    """The state of a run, for progress bars, logs and the final answer."""

    events: int
    examples: int
    rejected: int
    share: float | None  # of the source that is read
    examples_per_s: float | None  # of this process
    seq: int
    stored: Head  # the last commit that is stored
    waiting: int  # impressions and clicks without their other half
    watermark_ms: int | None  # event time
    lag: Mapping[str, int]  # by partition, records at the broker that were not given yet
    metrics: Mapping[str, Any]  # as of the last commit that was made
    trouble: str = ""  # why it does not get on: a store or brokers that are away; one line
