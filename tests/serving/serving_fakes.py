"""Small stand-ins: a store whose faults can be switched, and a mirror whose answers show its commits."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI

from streamrec.errors import StoreUnavailable, Unacknowledged
from streamrec.store.base import Commit, Head, Rows, Setting, Snapshot


def rows(ids: list[int], values: list[float], deleted: tuple[int, ...] = ()) -> Rows:
    n = len(ids)
    return Rows(
        np.array(ids, np.uint64),
        np.array(values, np.float32).reshape(n, 1),
        np.zeros(n, bool),
        np.array(deleted, np.uint64),
    )


def commit(seq: int, *, value: float | None = None, blobs: Mapping[str, bytes] | None = None) -> Commit:
    """Tables a and b and the blob "c" all hold one number: half of a commit would show."""
    v = float(seq) if value is None else value
    small = {"model": b'{"kind":"fake"}', "metrics": b'{"ne":0.9}', "c": str(v).encode(), **(blobs or {})}
    return Commit(seq, {"a": rows([1], [v]), "b": rows([1], [v])}, small, 1_000 * seq)


def without(event: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An event without `user`, `item` or `features.NAME`; the same by any other name."""
    features = {k: v for k, v in event.get("features", {}).items() if f"features.{k}" != name}
    return {k: v for k, v in event.items() if k != name} | {"features": features}


class FakeMirror:
    """Answers with its own state: probability 1/(1 + a), and counts when a, b and c are not of one commit."""

    retriever = None

    def __init__(self) -> None:
        self.tables: dict[str, dict[int, float]] = {"a": {}, "b": {}}
        self.c = 0.0
        self.torn = 0

    def apply(self, table: str, rows: Rows) -> None:
        for id_, row in zip(rows.ids.tolist(), rows.rows.tolist(), strict=True):
            if row[0] == -1.0:
                raise ValueError("a damaged commit")
            self.tables[table][id_] = row[0]
        for id_ in rows.deleted.tolist():
            self.tables[table].pop(id_, None)
        time.sleep(1e-4)  # gives every reader the chance to look in between

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        if "c" in blobs:
            self.c = float(blobs["c"])

    def score_lines(self, data: bytes) -> np.ndarray:
        lines = [json.loads(line) for line in data.splitlines()]
        a = self.tables["a"].get(1, 0.0)
        out = [1.0 / (1.0 + a + (line.get("features") or {}).get("x", 0)) for line in lines]
        if not a == self.tables["b"].get(1, 0.0) == self.c:
            self.torn += 1
        return np.array([out, [self.c] * len(out)], np.float32)

    def predict_without(self, data: bytes, left_out: Sequence[Sequence[str]]) -> Callable[[], np.ndarray]:
        lines = []
        for line, names in zip(data.splitlines(), left_out, strict=True):
            lines += [json.dumps(without(json.loads(line), name)).encode() for name in ("", *names)]
        predictions: np.ndarray = self.score_lines(b"\n".join(lines))[0]
        return lambda: predictions


class FakeStore:
    """One model's log in memory, of one learner at a time."""

    def __init__(self) -> None:
        self.log: list[Commit] = []
        self.epoch = 1
        self.trimmed = 0  # commits up to here are no longer in the log
        self.down = False
        self.n_loads = 0
        self._changed = threading.Condition()

    def add(self, *commits: Commit) -> None:
        with self._changed:
            self.log.extend(commits)
            self._changed.notify_all()

    def restart(self, *, fresh: bool) -> None:
        with self._changed:
            self.epoch += 1
            if fresh:
                self.log, self.trimmed = [], 0
            self._changed.notify_all()

    def _ask(self) -> None:
        if self.down:
            raise StoreUnavailable("no answer from the fake store")

    def models(self) -> list[str]:
        return ["m"] if self.log else []

    def head(self, model: str) -> Head:
        self._ask()
        last = self.log[-1] if self.log else None
        return Head(last.seq, self.epoch, last.time_ms) if last else Head(0, self.epoch, 0)

    def load(self, model: str, *, shadow: bool = False) -> Snapshot:
        self._ask()
        self.n_loads += 1
        head, blobs = self.head(model), {}
        for entry in self.log:
            blobs.update(entry.blobs)
        pieces = [(table, part) for entry in self.log for table, part in entry.tables.items()]
        return Snapshot(head, blobs, pieces)

    def setting(self, name: str) -> Setting:
        self._ask()
        return Setting(0, b"")

    def follow(self, model: str, after: int, *, timeout_s: float) -> Iterator[Commit] | None:
        self._ask()
        with self._changed:
            if not self._after(after):
                self._changed.wait(min(timeout_s, 0.02))
            self._ask()
            return None if after < self.trimmed else iter(self._after(after))

    def _after(self, seq: int) -> list[Commit]:
        return [entry for entry in self.log if entry.seq > seq]


class Client:
    """Asks an app in this process, without a network."""

    def __init__(self, portal: Any, client: httpx.AsyncClient) -> None:
        self._portal, self._client = portal, client

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            return await self._client.request(method, path, **arguments)

        response: httpx.Response = self._portal.call(ask)
        return response

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("POST", path, **arguments)


@contextmanager
def client_of(app: FastAPI) -> Iterator[Client]:
    """A client while the app's life span lasts."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    with start_blocking_portal() as portal:
        client = httpx.AsyncClient(transport=transport, base_url="http://test")
        with portal.wrap_async_context_manager(app.router.lifespan_context(app)):
            yield Client(portal, client)
        portal.call(client.aclose)


class FakeSink:
    """Keeps lines in memory; its faults can be switched, and `hold` makes its acknowledgements wait."""

    def __init__(self, largest_bytes: int = 2000) -> None:
        self.largest_bytes = largest_bytes
        self.written: list[tuple[bytes | None, bytes]] = []
        self.acknowledged = 0
        self.n_flushes = 0
        self.n_opened = 0
        self.closed = 0
        self.fault: Exception | None = None
        self.hold = threading.Event()
        self.hold.set()

    def open(self) -> "FakeSink":
        self.n_opened += 1
        return self

    def write(self, lines: Sequence[bytes], keys: Sequence[bytes | None]) -> None:
        self.written += zip(keys, lines, strict=True)

    def flush(self, timeout_s: float) -> None:
        self.n_flushes += 1
        assert self.hold.wait(10)
        if (fault := self.fault) is not None:
            if isinstance(fault, Unacknowledged):
                time.sleep(0.005)
            raise fault
        self.acknowledged = len(self.written)

    def close(self) -> None:
        self.closed += 1
