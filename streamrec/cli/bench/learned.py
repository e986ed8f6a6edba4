"""Metrics of a recorded stream that is learned once, in memory."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamrec.learner.start import Plan

__all__ = ["metrics"]


def metrics(path: Path, plan: "Plan") -> dict[str, Any]:
    """Of the whole stream, each example predicted before it is learned."""
    from streamrec.clock import SystemClock
    from streamrec.learner.start import start
    from streamrec.store.memory import MemoryStore
    from streamrec.transport.registry import open_source

    source = open_source(str(path))
    started = start(plan, source, MemoryStore("bench"), SystemClock())
    started.learner.run()
    started.parts.close()
    source.close()
    return started.parts.measures.result()
