"""Connections to Redis: commands, scripts, raw bytes, and errors as `StoreError`s.

redis-py opens the connection (URL, TLS, password, database); what goes over it is ours, because bulk
transfers are built and read by the megabyte (`rows.py`) and replies are wanted as they are. RESP 2, bytes in,
bytes out.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from time import sleep
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamrec.errors import StoreError, StoreFull, StoreUnavailable, UsageError

__all__ = [
    "ANSWER_S",
    "Argument",
    "Connect",
    "Script",
    "ServerWire",
    "Wire",
    "Wires",
    "connection_pool",
    "connection_settings",
    "hide_password",
    "server_wires",
    "store_error",
]

Argument = str | bytes | memoryview | int

#: Waiting for one answer. A batch of rows takes 0.1 s, loading a saved model after a restart is answered at
#: once with LOADING.
ANSWER_S = 30.0
CONNECT_S = 5.0
_BETWEEN_S = 0.05
#: Replies that a retry mends, without and with waiting for somebody.
_AWAY = re.compile(
    r"\b(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|UNBLOCKED|MISCONF|NOREPLICAS|BUSY)\b"
)
_LOST = (redis.ConnectionError, redis.TimeoutError, OSError)
#: The same where redis-py has taken the code out of the text.
_ELSEWHERE = (
    redis.exceptions.ReadOnlyError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.TryAgainError,
    redis.exceptions.AskError,  # and MOVED
)


def hide_password(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"(//[^/@:]*):[^@/]*@", r"\1:***@", url)


def store_error(error: Exception, url: str) -> StoreError:
    """The same trouble in one clear line with a hint."""
    text = " ".join(str(error).split())
    if isinstance(error, redis.OutOfMemoryError) or "OOM command not allowed" in text:
        return StoreFull(
            f"{url} is out of memory: free memory or raise it (CONFIG SET maxmemory …); "
            "nothing is lost, trying again helps"
        )
    if isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError) or "NOAUTH" in text:
        return StoreError(f"{url} refused the login: {text}: check user and password in the URL")
    if isinstance(error, _LOST + _ELSEWHERE) or _AWAY.search(text):
        return StoreUnavailable(
            f"{url} does not answer: {text}: is the server running and reachable? trying again helps"
        )
    return StoreError(f"{url} refused a command: {text}")


class Script:
    """A Lua script, sent by its hash and once in full where the server does not know it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Wire(ABC):
    """Where commands go: a connection to one server, or those to the nodes of a cluster (`cluster.py`).

    All that is sent through `call` must be safe to repeat.
    """

    @abstractmethod
    def calls(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        """The answers to commands sent together; the first error is raised."""

    @abstractmethod
    def at(self, key: str) -> "ServerWire":
        """The connection to the server that has this key."""

    @abstractmethod
    def settle(self, key: str | None = None) -> None:
        """Return once a replica has what was written: where this key is, or everywhere.

        Nothing to wait for on a single server, nor for a master without replicas.
        """

    @abstractmethod
    def close(self) -> None:
        """Drop every connection; the next use opens it again."""

    @abstractmethod
    def end(self) -> None:
        """Close for good: what still uses it must not open a store again that its owner closed."""

    def call(self, *command: Argument) -> Any:
        """The answer to one command."""
        return self.calls([command])[0]

    def run(self, script: Script, keys: Sequence[str], *arguments: Argument) -> Any:
        """The answer of a script."""
        answers = self.runs(script, [(keys, arguments)])
        return answers[0]

    def runs(self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]) -> list[Any]:
        """The answers of one script for several keys and arguments, sent together."""
        tails = [(len(keys), *keys, *arguments) for keys, arguments in calls]
        try:
            return self.calls([("EVALSHA", script.sha, *tail) for tail in tails])
        except StoreError as error:
            if not isinstance(error.__cause__, redis.exceptions.NoScriptError):
                raise
        self.call("SCRIPT", "LOAD", script.text)
        return self.calls([("EVALSHA", script.sha, *tail) for tail in tails])


class ServerWire(Wire):
    """One connection; reconnects twice by itself.

    Args:
        connection: of redis-py.
        url: the server's name in errors.
        doubt: called when the server does not answer as it should.

    """

    def __init__(self, connection: Any, url: str, doubt: Callable[[], None] = lambda: None) -> None:
        self._connection = connection
        self._url = url
        self._doubt = doubt
        self._rest = b""
        self._over = False

    def calls(self, commands: Sequence[tuple[Argument, ...]], *, again: int = 2) -> list[Any]:
        """The answers to commands sent together; the first error is raised; `again` as for `exchange`."""
        answers = self.exchange(commands, again=again)
        for answer in answers:
            if isinstance(answer, redis.ResponseError):
                raise self.refused(answer) from answer
        return answers

    def exchange(self, commands: Sequence[tuple[Argument, ...]], *, again: int = 2) -> list[Any]:
        """The answers to commands sent together, errors among them; `again`: how often to reconnect."""
        if self._over:
            raise StoreError(f"{self._url} was closed by this process: open it again")
        packed = self._connection.pack_commands(commands)
        for left in range(again, -1, -1):
            try:
                self._connection.send_packed_command(packed, check_health=False)
                return [self._answer() for _ in commands]
            except _LOST as error:
                self.close()
                # An idle connection may be gone since its last use; a server that is just ending or starting
                # may take the next one and drop it.
                if not left or isinstance(error, redis.TimeoutError):
                    raise self.refused(error) from error
                if left == 1:
                    sleep(_BETWEEN_S)
            except redis.RedisError as error:
                self.close()
                raise self.refused(error) from error
        raise AssertionError("not reached")

    def at(self, key: str) -> "ServerWire":  # noqa: ARG002  (one server has every key)
        """Itself."""
        return self

    def settle(self, key: str | None = None) -> None:
        """Nothing: a single server's answer is its word."""

    def refused(self, error: Exception) -> StoreError:
        """This trouble as an error that names the server."""
        known = store_error(error, self._url)
        if isinstance(known, StoreUnavailable):
            self._doubt()
        return known

    def packed(self, commands: Sequence[tuple[Argument, ...]]) -> bytes:
        """Commands encoded, for `send`."""
        return b"".join(self._connection.pack_commands(commands))

    def send(self, data: bytes) -> None:
        """Send commands that are already encoded; `receive` must take every answer."""
        with self.answering():
            self._connection.send_packed_command([data], check_health=False)

    def receive(self, buffer: memoryview) -> int:
        """Bytes of raw answers, at least one."""
        with self.answering():
            # redis-py's own parser has taken every answer that it was asked for, so nothing waits in its
            # buffer
            count: int = self._connection._sock.recv_into(buffer)
            if not count:
                raise redis.ConnectionError("the connection was closed")
            return count

    def lines(self, count: int) -> list[bytes]:
        """The next lines of raw answers."""
        found = self._rest.count(b"\n")
        chunks = [self._rest]
        with memoryview(bytearray(1 << 16)) as buffer:
            while found < count:
                chunks.append(bytes(buffer[: self.receive(buffer)]))
                found += chunks[-1].count(b"\n")
        *lines, self._rest = b"".join(chunks).split(b"\r\n", count)
        return lines

    @contextmanager
    def answering(self) -> Iterator[None]:
        """What goes wrong here becomes a `StoreError`; the connection is dropped with what is in it."""
        try:
            yield
        except (redis.RedisError, OSError) as error:
            self.close()
            raise self.refused(error) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection; the next use opens it again."""
        self._rest = b""
        self._connection.disconnect()

    def end(self) -> None:
        """Close for good: what still uses it must not open a store again that its owner closed."""
        self._over = True
        self.close()

    def _answer(self) -> Any:
        try:
            return self._connection.read_response(disable_decoding=True)
        except redis.ResponseError as error:
            return error


def connection_pool(
    url: str, forms: str = "redis://HOST:PORT/DB or unix:///PATH", answer_s: float = ANSWER_S
) -> Any:
    """What opens connections to this URL: redis-py's pool, of which only its settings are used.

    Raises:
        UsageError: not a Redis URL; `forms` says what one looks like.

    """
    try:
        return redis.ConnectionPool.from_url(url, **connection_settings(answer_s))
    except (ValueError, TypeError) as error:
        raise UsageError(f"store {hide_password(url)!r}: {error}: expected {forms}") from error


def connection_settings(answer_s: float = ANSWER_S) -> dict[str, Any]:
    """What every connection has in common; `answer_s`: how long it waits for one answer."""
    return {
        "protocol": 2,
        "socket_timeout": answer_s,
        "socket_connect_timeout": min(CONNECT_S, answer_s),
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
    }


class Wires:
    """Wires to one store, lent one thread at a time and kept for the next.

    Args:
        make: makes one; it connects when it is used.
        url: the store's name in errors.
        spread: whether rows lie on other servers than the model's head, so that each may lose its own
            last writes.

    """

    def __init__(self, make: Callable[[], Wire], url: str, *, spread: bool = False) -> None:
        self.url = url
        self.spread = spread
        self._make = make
        self._idle: list[Wire] = []
        self._lock = Lock()
        self.closed = False
        self._taken: set[Wire] = set()

    def take(self) -> Wire:
        """A connection of one's own; `leave` it when done."""
        wire = self._make()
        if self.closed:
            wire.end()
        self._taken.add(wire)
        return wire

    def leave(self, wire: Wire) -> None:
        """Close a connection of one's own."""
        self._taken.discard(wire)
        wire.close()

    @contextmanager
    def lent(self) -> Iterator[Wire]:
        """A connection for a while."""
        with self._lock:
            wire = self._idle.pop() if self._idle else self.take()
            self._taken.discard(wire)
        try:
            yield wire
        finally:
            with self._lock:
                if self.closed:
                    wire.close()
                else:
                    self._idle.append(wire)
                    self._taken.add(wire)

    def close(self) -> None:
        """Close all but those that are lent just now, which are closed when they come back."""
        with self._lock:
            self.closed = True
            for wire in self._taken:
                wire.end()
            self._idle.clear()


class Connect(Protocol):
    """How the store at a URL is reached."""

    def __call__(self, url: str, answer_s: float | None = None) -> Wires:
        """Wires to it; `answer_s`: how long they wait for one answer, None: as usual."""
        ...


def server_wires(url: str, answer_s: float | None = None) -> Wires:
    """Wires to the server at this URL, see `Connect`."""
    shown, pool = hide_password(url), connection_pool(url, answer_s=answer_s or ANSWER_S)
    return Wires(lambda: ServerWire(pool.make_connection(), shown), shown)
