"""Peers of the index benchmark: one that takes too long to build is stopped, and judged by what it has."""

import numpy as np
import pytest

from streamrec.cli.bench import index_million, index_peers
from streamrec.cli.bench.vectors import items_and_queries


def test_who_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_peers, "_PIECE", 40)
    added: list[np.ndarray] = []
    assert index_peers._grown(added.append, 90) == 90
    assert np.concatenate(added).tolist() == list(range(90))
    seconds = iter((0.0, 1.0, 149.0, 151.0))
    monkeypatch.setattr(index_peers, "perf_counter", lambda: next(seconds))
    assert index_peers._grown(added.append, 1000) == 80


def test_recall_of_who_lacks_items_is_of_those_that_it_has() -> None:
    items, queries = items_and_queries(600, 20, 64)
    exact, part = index_peers.brute_force(items), index_peers.brute_force(items[:300])
    peer = index_peers.Built("half", part, 300, 150.0)
    figures = {
        f.name: f for f in index_million._beside(peer, {"ours": exact, "exact": exact}, (items, queries))
    }
    assert figures["1M, half, recall"].value == 1.0
    assert figures["1M, half, stopped after 150 s with"].value == 300
    whole = index_peers.Built("all", exact, 600, 1.0)
    figures = {
        f.name: f for f in index_million._beside(whole, {"ours": exact, "exact": exact}, (items, queries))
    }
    assert figures["1M, all, recall"].value == 1.0
    assert not any("stopped" in name for name in figures)
