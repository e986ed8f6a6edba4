"""Waiting for what is not there yet when a worker starts."""

import logging
from collections.abc import Callable
from typing import TypeVar

from streamrec.clock import Clock
from streamrec.errors import BrokerUnavailable, StoreUnavailable, TopicMissing

__all__ = ["patiently"]

_log = logging.getLogger("streamrec")

_Given = TypeVar("_Given")
#: Between two attempts; each may itself wait some seconds for an answer.
_PAUSE_S = 1.0
#: Between two lines of log about one outage.
_REMIND_S = 10.0


def patiently(attempt: Callable[[], _Given], patience_s: float, clock: Clock) -> _Given:
    """What `attempt` gives, tried again while a store or a broker does not answer, or a topic is not there.

    Raises:
        StoreUnavailable, BrokerUnavailable, TopicMissing: for longer than `patience_s`.

    """
    started_s, reminded_s = clock.monotonic_s(), -_REMIND_S
    while True:
        try:
            return attempt()
        except (StoreUnavailable, BrokerUnavailable, TopicMissing) as error:
            away_s = clock.monotonic_s() - started_s
            if away_s >= patience_s:
                raise type(error)(f"{error}; gave up after {away_s:.0f} s") from None
            if away_s - reminded_s >= _REMIND_S:
                reminded_s = away_s
                _log.warning("waiting: %s", error)
        clock.sleep(_PAUSE_S)
