"""One server process of a directory: started by one process, found, stopped or killed by any other.

The server inherits a lock on its pid file and holds it as long as it lives, however it ends: the lock says
whether it runs, the file's text which process it is. There are never two on one directory.
"""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from streamrec.errors import ServiceError

__all__ = ["STOP_S", "Daemon", "exclusive", "make_directory", "poll", "remove"]

#: A fortieth of the shortest start: waiting costs nothing that is felt.
_POLL_S = 0.05
#: A prober of the lock has it for microseconds only, a starter until the process id is written.
_HELD_S = 2.0
#: A server that is told to end has this long to save what it has; then it is killed.
STOP_S = 60.0
#: $1 the pid file, then the server's command. The server is nobody's child, so nobody has to wait for it.
_DETACH = 'pid=$1; shift; "$@" & echo $! >"$pid"'
_TROUBLE = re.compile(r"\b(ERROR|FATAL)\b|^Caused by:|^[\w.$]*(Exception|Error)\b|^Error|\d # ")


def make_directory(path: Path) -> Path:
    """The same, absolute, made where it is not there.

    Raises:
        ServiceError: it cannot be made.

    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(
            f"{path}: {error.strerror}: expected a directory to keep a server's data in"
        ) from error
    return path.resolve()


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Only one process at a time is in here; others wait."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def poll(seconds: float) -> Iterator[None]:
    """Come back every moment, for at most so long."""
    end = monotonic() + seconds
    while monotonic() < end:
        yield
        sleep(_POLL_S)


def remove(directory: Path, *patterns: str) -> None:
    """Remove what a server keeps in a directory, and that itself where nothing of somebody else's is left."""
    for path in (path for pattern in patterns for path in directory.glob(pattern)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        directory.rmdir()


class Daemon:
    """A server that lives on when its starter ends.

    Args:
        name: for messages and files: `NAME.pid`, `NAME.log` and the `NAME.log.1` of the run before.
        directory: where these are; exists.

    """

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.log = directory / f"{name}.log"
        self._pid = directory / f"{name}.pid"

    def pid(self) -> int | None:
        """Its process id; None where it does not run."""
        try:
            with self._pid.open() as file:
                for _ in poll(_HELD_S):
                    if _locked(file.fileno(), fcntl.LOCK_SH):
                        return None
                    file.seek(0)
                    if text := file.read():
                        return int(text)
        except FileNotFoundError:
            return None
        return None

    def spawn(self, command: Sequence[str]) -> None:
        """Start it, without waiting until it is ready; its output goes to the log.

        Raises:
            ServiceError: there is one already.

        """
        with self._pid.open("a") as file:
            if not any(_locked(file.fileno(), fcntl.LOCK_EX) for _ in poll(_HELD_S)):
                raise ServiceError(f"{self.name} in {self.directory} runs already: process {self.pid()}")
            file.truncate(0)
            if self.log.exists():
                self.log.replace(self.log.with_suffix(".log.1"))
            with self.log.open("ab") as log:
                subprocess.run(
                    ["/bin/sh", "-c", _DETACH, "streamrec", str(self._pid), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(file.fileno(),),
                    start_new_session=True,  # Ctrl-C is for the starter
                    cwd=self.directory,
                    check=True,
                )

    def stop(self) -> bool:
        """Let it save and end; whether it ran.

        Raises:
            ServiceError: it did not end by itself and was killed.

        """
        pid = self.signal(signal.SIGTERM)
        if pid is None:
            return False
        if not self._gone(STOP_S):
            self.kill()
            raise ServiceError(
                f"{self.name} (process {pid}) did not end in {STOP_S:.0f} s and was killed: see {self.log}"
            )
        return True

    def kill(self) -> bool:
        """`kill -9`, in the middle of whatever it does; returns whether it ran, once it is gone."""
        if self.signal(signal.SIGKILL) is None:
            return False
        if not self._gone(STOP_S):
            raise ServiceError(f"{self.name} (process {self.pid()}) cannot be killed: see {self.log}")
        return True

    def signal(self, number: int) -> int | None:
        """Send it a signal; its process id, None where it does not run."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pid

    def failure(self, what: str) -> ServiceError:
        """An error that names the log and its last line about trouble."""
        return ServiceError(f"{self.name} in {self.directory} {what}: {self._last_words()}")

    def _gone(self, seconds: float) -> bool:
        return any(self.pid() is None for _ in poll(seconds))

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        lines = [line.strip() for line in lines if line.strip()]
        if not lines:
            return f"it wrote nothing to {self.log}"
        told = next((line for line in reversed(lines) if _TROUBLE.search(line)), lines[-1])
        return f"see {self.log}, which says {told!r}"


def _locked(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
