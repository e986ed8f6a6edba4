"""Events of many requests on their way into one sink: written in order, acknowledged together."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Condition, Thread
from typing import Any, NamedTuple, Protocol, TypeVar

from streamrec.errors import BrokerUnavailable, StreamrecError, Unacknowledged
from streamrec.transport.base import KeyedSink

__all__ = ["ANSWER_S", "Delivery", "Parcel"]

#: A request is told after this that its events are not acknowledged: longer than a broker takes to hand its
#: partitions to another one, short enough for whoever waits.
ANSWER_S = 5.0
#: Pause before a sink that could not be opened is tried again.
_RETRY_S = 1.0
#: One look at whether a broker that was away has acknowledged what it had been given.
_LOOK_S = 0.5
#: How long `stop` waits: for an answer, and then for the sink's own end.
_STOP_S = ANSWER_S + 1.0

log = logging.getLogger("streamrec.serving")


class Parcel(Protocol):
    """What one request delivers."""

    @property
    def lines(self) -> Sequence[bytes]:
        """Without their newlines; there may be none."""
        ...

    @property
    def keys(self) -> Sequence[bytes | None]:
        """One for each line."""
        ...


_P = TypeVar("_P", bound=Parcel)


class _Order(NamedTuple):
    """One request's work, and what will become of it."""

    pack: Callable[[], Any]
    done: "Future[Any]"


class _Packed(NamedTuple):
    parcel: Parcel
    done: "Future[Any]"


class Delivery:
    """A thread that owns the sink.

    It takes all that waits, packs it, writes it and waits once for the acknowledgement of it all; what comes
    meanwhile goes together next. So a request waits for two answers of the broker at most, a thousand small
    ones share one, and no timer is involved. Packing is done here too: a thread for each request would wait
    some milliseconds for the interpreter's lock each time (measured: half as many requests a second).

    While the sink does not answer, requests are refused at once; of those that were under way it is not known
    whether their events arrive later. A sink that failed in any other way is opened anew.

    Args:
        open_sink: from `transport.open_sink`; called by the thread, which closes what it gives.
    """

    def __init__(self, open_sink: Callable[[], KeyedSink]) -> None:
        self._open = open_sink
        self._changed = Condition()
        self._waiting: list[_Order] = []
        self._trouble: StreamrecError | None = None
        self._stopping = False
        self._largest_bytes: int | None = None
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin, also anew after `stop`; returns at once."""
        self._stopping, self._trouble = False, None
        self._thread = Thread(target=self._run, name="streamrec-events", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Deliver what waits, close the sink, end the thread; some seconds at most."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(_STOP_S)

    def check(self) -> None:
        """Raise what `submit` would raise now."""
        if self._trouble is not None:
            raise _another(self._trouble)
        if self._stopping:
            raise BrokerUnavailable("the service is stopping: send the events again, to another one")

    def submit(self, pack: Callable[[], _P]) -> "Future[_P]":
        """Deliver what `pack` gives, in order, after all that was submitted before.

        The future has the parcel once its lines are acknowledged. It raises what `pack` has raised; or
        `Unacknowledged` where the lines perhaps arrive later; or any other error where the sink refused them.

        Args:
            pack: called by the thread.

        Raises:
            BrokerError, SourceError: the sink is in trouble already: nothing was taken.

        """
        order = _Order(pack, Future())
        with self._changed:
            self.check()
            self._waiting.append(order)
            self._changed.notify()
        return order.done

    def fits(self, size: int) -> bool:
        """Whether the sink takes a line that has so many bytes together with its key."""
        return self._largest_bytes is None or size <= self._largest_bytes

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._deliver_until_stop()
            except Exception as fault:
                error = _ours(fault)
                if error is not fault:
                    log.error("events: a fault of the service", exc_info=fault)
                if isinstance(error, BrokerUnavailable) or self._largest_bytes is None:
                    self._away(error)
                    with self._changed:
                        self._changed.wait_for(lambda: self._stopping, _RETRY_S)
        self._away(BrokerUnavailable("the service is stopping"))

    def _deliver_until_stop(self) -> None:
        self._largest_bytes = None
        sink = self._open()
        try:
            self._largest_bytes = sink.largest_bytes
            self._back()
            while (orders := self._take()) is not None:
                if packed := _packed(orders):
                    self._deliver(sink, packed)
        finally:
            with suppress(StreamrecError):  # what it had is answered already
                sink.close()

    def _deliver(self, sink: KeyedSink, packed: Sequence[_Packed]) -> None:
        try:
            for parcel, _ in packed:
                sink.write(parcel.lines, parcel.keys)
            sink.flush(ANSWER_S)
        except Unacknowledged as fault:
            _fail(packed, fault)
            self._away(fault)
            self._await(sink)
            self._back()
        except Exception as fault:
            _fail(packed, _ours(fault))
            raise
        else:
            for parcel, done in packed:
                done.set_result(parcel)

    def _take(self) -> list[_Order] | None:
        """All that waits; None: it is time to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            taken, self._waiting = self._waiting, []
        return _begun(taken) if taken else None

    def _await(self, sink: KeyedSink) -> None:
        """Until what was written is acknowledged after all."""
        while not self._stopping:
            try:
                sink.flush(_LOOK_S)
                return
            except Unacknowledged:
                continue

    def _away(self, fault: StreamrecError) -> None:
        """Refuse what waits and whatever comes: none of it was taken."""
        error = BrokerUnavailable(str(fault)) if isinstance(fault, Unacknowledged) else fault
        with self._changed:
            if self._trouble is None and not self._stopping:
                log.warning("events are refused: %s", error)
            self._trouble = error
            refused, self._waiting = self._waiting, []
        _fail(_begun(refused), error)

    def _back(self) -> None:
        if self._trouble is not None:
            log.info("events are taken again")
        self._trouble = None


def _begun(orders: Sequence[_Order]) -> list[_Order]:
    """Those that are still waited for; they cannot be cancelled any more."""
    return [order for order in orders if order.done.set_running_or_notify_cancel()]


def _packed(orders: Sequence[_Order]) -> list[_Packed]:
    """What is to be written; requests that have nothing are answered."""
    packed = []
    for pack, done in orders:
        try:
            parcel = pack()
        except Exception as fault:
            done.set_exception(fault)
            continue
        if parcel.lines:
            packed.append(_Packed(parcel, done))
        else:
            done.set_result(parcel)
    return packed


def _fail(each: Sequence[_Order] | Sequence[_Packed], fault: StreamrecError) -> None:
    for one in each:
        one.done.set_exception(_another(fault))


def _another(fault: StreamrecError) -> StreamrecError:
    """The same once more: an exception that is raised twice collects both traces."""
    return type(fault)(str(fault))


def _ours(fault: Exception) -> StreamrecError:
    if isinstance(fault, StreamrecError):
        return fault
    return StreamrecError(f"a fault of the service: {type(fault).__name__}; its log has the trace")
