"""Ports of the loopback interface."""

import random
import socket
from collections.abc import Collection, Iterator

from streamrec.errors import ServiceError

__all__ = ["HOST", "free_port", "is_free", "require_free"]

#: Nothing here listens on another interface.
HOST = "127.0.0.1"
#: Below 32768, where Linux takes the local ports of outgoing connections from: a server that is killed
#: finds its port free when it comes back.
_FREE = range(20_000, 32_000)
_TRIES = 1000


def is_free(port: int) -> bool:
    """Whether a server could listen there now; connections of a server that has just died do not matter."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port(*preferred: int, taken: Collection[int] = ()) -> int:
    """The first preferred port that is free, else any.

    Args:
        preferred: ports to try first, in this order.
        taken: ports that are promised to somebody else.

    Raises:
        ServiceError: none was found.

    """
    for port in _candidates(preferred):
        if port not in taken and is_free(port):
            return port
    raise ServiceError(f"no free port found on {HOST} from {_FREE.start} to {_FREE.stop - 1}")


def require_free(port: int, who: str) -> None:
    """Fail clearly where another program listens already.

    Raises:
        ServiceError: it does.

    """
    if not is_free(port):
        raise ServiceError(
            f"{who}: port {port} of {HOST} is taken by another program: stop that, or give another port"
        )


def _candidates(preferred: tuple[int, ...]) -> Iterator[int]:
    yield from preferred
    yield from random.SystemRandom().sample(_FREE, _TRIES)
