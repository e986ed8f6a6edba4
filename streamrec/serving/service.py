"""The service as a process: listen, serve until told to stop, stop cleanly."""

import logging
import math
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from functools import partial

import uvicorn

from streamrec.clock import Clock, SystemClock
from streamrec.errors import ServiceError
from streamrec.log import log_to_stderr
from streamrec.serving.app import create_app
from streamrec.serving.arms import Arms
from streamrec.serving.connection import Connection
from streamrec.serving.delivery import Delivery
from streamrec.serving.limits import Limits, Protection
from streamrec.serving.modes import Mode, scorer_of
from streamrec.serving.scorer import Scorer
from streamrec.serving.stored_arms import StoredArms
from streamrec.store.base import Store
from streamrec.transport.base import KeyedSink

__all__ = ["BackgroundService", "listen", "serve"]

#: Requests under way when the service is told to stop get this long; one takes some ten milliseconds.
STOP_S = 5

OpenSink = Callable[[], KeyedSink]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        ServiceError: the address cannot be taken.

    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        # Named as TCP, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms.
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        raise ServiceError(
            f"cannot listen on {host}:{port}: {error}; choose another --host or --port"
        ) from None
    return listener


def serve(
    store: Store,
    model: str,
    listener: socket.socket,
    on_ready: Callable[[str], None],
    open_events: OpenSink | None = None,
    protection: Protection | None = None,
    mode: Mode = None,
    arms: Mapping[str, float] | None = None,
) -> None:
    """Serve a model until SIGTERM or SIGINT; returns after the requests under way are answered.

    Args:
        store: where the model is, or will be: `/readyz` says 503 until its first commit.
        model: its name.
        listener: from `listen`.
        on_ready: called with the service's URL once the socket accepts requests.
        open_events: opens the sink of `/v1/events`, as `transport.open_sink` gives it; None: it takes none.
        protection: limits, tokens and TLS; None: the default limits, anybody, plain HTTP.
        mode: `RetrievalSettings` of a mirror, how items are found, where the model finds any; or
            `LookupSettings`: only some rows are held, the others looked up in the store.
        arms: other models and their shares in per cent, which the store takes where it has no shares yet.

    """
    log_to_stderr()
    logging.getLogger("streamrec.serving").setLevel(logging.INFO)
    protection = protection or Protection()
    clock = SystemClock()
    make = _maker(store, clock, mode)
    server = _server(StoredArms(store, model, make, clock, arms), open_events, protection)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn handles both signals itself and raises them again at its end, when nothing is left to stop.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    _give_up_after(listener, protection.limits)
    on_ready(_url(listener, protection.tls))
    server.run(sockets=[listener])


class BackgroundService:
    """The same in a thread of this process, for the demo and tests; a context manager.

    Attributes:
        url: where it answers.
        arms: what it answers from.

    """

    def __init__(
        self,
        store: Store,
        model: str,
        host: str = "127.0.0.1",
        port: int = 0,
        open_events: OpenSink | None = None,
        protection: Protection | None = None,
        mode: Mode = None,
    ) -> None:
        protection = protection or Protection()
        listener = listen(host, port)
        _give_up_after(listener, protection.limits)
        self.url = _url(listener, protection.tls)
        clock = SystemClock()
        self.arms = StoredArms(store, model, _maker(store, clock, mode), clock)
        self._server = _server(self.arms, open_events, protection)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="service", daemon=True
        )

    @property
    def scorer(self) -> Scorer:
        """That of the champion."""
        return self.arms.champion

    def __enter__(self) -> "BackgroundService":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


def _maker(store: Store, clock: Clock, mode: Mode) -> Callable[[str], Scorer]:
    """Makes the scorer of a model."""
    return lambda model: scorer_of(store, model, clock, mode)


def _server(arms: Arms, open_events: OpenSink | None, protection: Protection) -> uvicorn.Server:
    delivery, tls = Delivery(open_events) if open_events else None, protection.tls
    app = create_app(arms, delivery=delivery, protection=protection)
    config = uvicorn.Config(
        app,
        http=partial(  # type: ignore[arg-type]
            Connection,
            receive_s=protection.limits.receive_s,
            door=app.state.door,
            direct=app.state.direct,
        ),
        ws="none",  # whatever is installed: nothing here speaks it
        ssl_context_factory=(lambda *_: tls) if tls is not None else None,
        log_config=None,  # through this process's logging, to stderr
        log_level="warning",
        access_log=False,
        timeout_keep_alive=protection.limits.idle_s,
        timeout_graceful_shutdown=STOP_S,
    )
    return uvicorn.Server(config)


def _give_up_after(listener: socket.socket, limits: Limits) -> None:
    """Connections whose client does not read its answer end by themselves; they inherit this of the listener.

    Closing the transport would wait for such a client for ever; the system does not (TCP_USER_TIMEOUT in
    tcp(7)).
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        timeout_ms = math.ceil(limits.answer_s * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)


def _url(listener: socket.socket, tls: ssl.SSLContext | None) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "http" if tls is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
