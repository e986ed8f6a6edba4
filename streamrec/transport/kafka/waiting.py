"""Calls of a library that may block for longer than anybody wants to wait."""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread

from streamrec.transport.kafka.faults import Trouble, make_error

__all__ = ["within"]


def within(where: str, limit_s: float, call: Callable[..., object], *arguments: object) -> None:
    """Make the call in a thread of its own, so that signals are heard meanwhile and waiting has an end.

    where: the cluster, for messages.

    Raises:
        BrokerUnavailable: it has not returned in time; it goes on in its thread.
        Exception: what the call raised.

    """
    outcome: SimpleQueue[Exception | None] = SimpleQueue()

    def work() -> None:
        try:
            call(*arguments)
        except Exception as fault:
            outcome.put(fault)
        else:
            outcome.put(None)

    Thread(target=work, name="streamrec-kafka-call", daemon=True).start()
    try:
        fault = outcome.get(timeout=limit_s)
    except Empty:
        raise make_error(Trouble.AWAY, where, f"nothing for {limit_s:g} s") from None
    if fault is not None:
        raise fault
