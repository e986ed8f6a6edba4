"""Sending commits while learning goes on: one at a time, in order, each until it is stored."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from streamrec.clock import Clock
from streamrec.errors import BrokerUnavailable, StoreFull, StoreUnavailable, StreamrecError
from streamrec.store.base import Commit, Head, Lease

__all__ = ["Committer", "Handed"]

_log = logging.getLogger("streamrec")

#: Doubling between these: soon back after a blip, no hammering of a server that restarts.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_REMIND_S = 10.0  # between two lines of log about one outage
#: Waiting for a store is interrupted this often to see whether it should be given up.
_LOOK_S = 0.1
#: What a retry mends.
_AWAY = (StoreFull, StoreUnavailable, BrokerUnavailable)


class Handed(NamedTuple):
    """A commit, and what must be done before it.

    `before` gives blobs that become part of the commit; after an error it is called again.
    """

    commit: Commit
    before: Callable[[], Mapping[str, bytes]] = dict


class Committer:
    """Stores commits in a thread of its own.

    What is refused for now (`StoreFull`, `StoreUnavailable`, `BrokerUnavailable`) is tried again with the
    same content, which is safe; the learner meets the outage at its next commit and pauses there, at most one
    interval ahead of the store.

    Args:
        lease: the right to commit.
        stored: the last commit so far.
        patience_s: how long one commit is tried.
        clock: for waits.

    """

    def __init__(self, lease: Lease, stored: Head, patience_s: float, clock: Clock) -> None:
        self._lease = lease
        self.stored = stored
        self._patience_s = patience_s
        self._clock = clock
        self._give_up_at_s = float("inf")
        self._waiting: Handed | None = None
        self._error: BaseException | None = None
        #: Why the commit under way was refused the last time; empty while it was not.
        self.trouble = ""
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="streamrec-commit", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """A commit can be given without waiting, or the store is in trouble and the learner should wait for
        it.
        """
        return self._waiting is None or bool(self.trouble) or self._error is not None

    @property
    def is_idle(self) -> bool:
        """Everything handed over is stored."""
        return self._waiting is None

    @property
    def has_failed(self) -> bool:
        """What was handed over cannot be stored, and `wait` says why."""
        return self._error is not None

    def submit(self, handed: Handed) -> None:
        """Hand over a commit, once `wait` said that the one before it is stored."""
        with self._changed:
            self._waiting = handed
            self._changed.notify_all()

    def wait(self) -> bool:
        """Return once everything handed over is stored; False: it is not, and `hurry` said to leave it.

        Raises:
            StreamrecError: it could not be stored.

        """
        with self._changed:
            while self._waiting is not None and self._error is None and not self._is_late:
                self._changed.wait(_LOOK_S)
            if self._error is not None and not (self._is_late and isinstance(self._error, _AWAY)):
                raise self._error
            return self._waiting is None

    def hurry(self, seconds: float) -> None:
        """From now on wait no longer than this. May be called from a signal handler."""
        self._give_up_at_s = self._clock.monotonic_s() + seconds

    def close(self) -> None:
        """Stop the thread; what is not stored by now is left to the next run.

        Call `wait` first to have it stored.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(_LOOK_S if self._is_late else None)

    @property
    def _is_late(self) -> bool:
        return self._clock.monotonic_s() >= self._give_up_at_s

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or (self._waiting is not None and self._error is None)
                )
                if self._closed:
                    return
                handed = self._waiting
            assert handed is not None
            error: BaseException | None = None
            try:
                self._store(handed)
            except BaseException as failure:  # reported to the learner by `wait`
                error = failure
            with self._changed:
                self._error = error
                if error is None:
                    self._waiting = None
                self.trouble = ""
                self._changed.notify_all()

    def _store(self, handed: Handed) -> None:
        """Do what comes before and commit, again and again while it may work later."""
        wait_s, started, reminded = _FIRST_WAIT_S, self._clock.monotonic_s(), -_REMIND_S
        commit, before = handed.commit, True
        while True:
            try:
                if before:
                    commit, before = commit._replace(blobs={**commit.blobs, **handed.before()}), False
                self._lease.commit(commit)
            except _AWAY as error:
                self.trouble = str(error)
                outage_s = self._clock.monotonic_s() - started
                if outage_s >= self._patience_s or self._closed:
                    raise _gave_up(error, commit, outage_s) from None
                if outage_s - reminded >= _REMIND_S:
                    reminded = outage_s
                    _log.warning("commit %d waits, learning is paused: %s", commit.seq, error)
                self._clock.sleep(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            else:
                self.stored = Head(commit.seq, self._lease.epoch, commit.time_ms)
                if self.trouble:
                    _log.warning("commit %d is stored, learning goes on", commit.seq)
                return


def _gave_up(error: StreamrecError, commit: Commit, outage_s: float) -> StreamrecError:
    return type(error)(
        f"{error}; gave up on commit {commit.seq} after {outage_s:.0f} s: "
        "nothing is lost, run again to go on from the last commit"
    )
