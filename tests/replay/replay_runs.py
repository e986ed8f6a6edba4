"""Runs of the whole learner in this process."""

import uuid
from pathlib import Path

from streamrec.clock import SystemClock
from streamrec.learner.start import Plan, Started, start
from streamrec.store.memory import MemoryStore
from streamrec.transport.registry import open_source


def learn(
    path: Path,
    plan: Plan,
    store: MemoryStore,
    limit: int | None = None,
    finish: bool = True,
    chunk_bytes: int = 30_000,
) -> Started:
    source = open_source(str(path), chunk_bytes=chunk_bytes)
    try:
        started = start(plan, source, store, SystemClock())
        try:
            started.learner.run(limit=limit, finish=finish)
        finally:
            started.parts.close()
    finally:
        source.close()
    return started


def outcome(started: Started) -> dict:
    result = started.result(started.learner.report())
    result.pop("examples_per_s")
    return result


def new_store() -> MemoryStore:
    return MemoryStore(uuid.uuid4().hex)
