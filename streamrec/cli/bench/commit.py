"""The replay benchmark with a commit a second into an embedded Redis, beside the same without a store."""

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.replay import replay_rate
from streamrec.cli.bench.stream import streams

__all__ = ["figures"]


def figures() -> list[Figure]:
    """Examples/s; a longer stream, so that commits fall into the run."""
    with streams(1_200_000) as made:
        memory = replay_rate(made.jsonl, "memory", runs=2)
        embedded = replay_rate(made.jsonl, "embedded", runs=2)
    return [Figure("replay, store embedded", embedded, "examples/s", memory, "store memory", (0.8, None))]
