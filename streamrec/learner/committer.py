"""Sending commits while learning goes on: one at a time, in order, each until it is stored."""

import logging
import threading

from streamrec.clock import Clock
from streamrec.errors import StoreError, StoreFull, StoreUnavailable
from streamrec.store.base import Commit, Lease

__all__ = ["Committer"]

_log = logging.getLogger("streamrec")

#: Doubling between these: soon back after a blip, no hammering of a server that restarts.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_REMIND_S = 10.0  # between two lines of log about one outage


class Committer:
    """Stores commits in a thread of its own.

    A commit that the store refuses for now (`StoreFull`, `StoreUnavailable`) is tried again with the same
    content, which is safe; the learner meets the outage at its next commit and pauses there, at most one
    interval ahead of the store.

    Args:
        lease: the right to commit.
        patience_s: how long one commit is tried.
        clock: for waits.

    """

    def __init__(self, lease: Lease, patience_s: float, clock: Clock) -> None:
        self._lease = lease
        self._patience_s = patience_s
        self._clock = clock
        self._waiting: Commit | None = None
        self._error: BaseException | None = None
        self._refused = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="streamrec-commit", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """A commit can be given without waiting, or the store is in trouble and the learner should wait for
        it.
        """
        return self._waiting is None or self._refused or self._error is not None

    def submit(self, commit: Commit) -> None:
        """Hand over a commit, after the one before it is stored.

        Raises:
            StoreError: the commit before this one could not be stored.

        """
        self.wait()
        with self._changed:
            self._waiting = commit
            self._changed.notify_all()

    def wait(self) -> None:
        """Return once everything handed over is stored.

        Raises:
            StoreError: it could not be stored.

        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is None or self._error is not None)
            if self._error is not None:
                raise self._error

    def close(self) -> None:
        """Stop the thread; what is not stored by now is left to the next run.

        Call `wait` first to have it stored.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or (self._waiting is not None and self._error is None)
                )
                if self._closed:
                    return
                commit = self._waiting
            assert commit is not None
            error: BaseException | None = None
            try:
                self._store(commit)
            except BaseException as failure:  # reported to the learner by `wait`
                error = failure
            with self._changed:
                self._error = error
                if error is None:
                    self._waiting = None
                self._refused = False
                self._changed.notify_all()

    def _store(self, commit: Commit) -> None:
        """Commit, again and again while the store says that it may work later."""
        wait_s, started, reminded = _FIRST_WAIT_S, self._clock.monotonic_s(), -_REMIND_S
        while True:
            try:
                self._lease.commit(commit)
            except (StoreFull, StoreUnavailable) as error:
                self._refused = True
                outage_s = self._clock.monotonic_s() - started
                if outage_s >= self._patience_s or self._closed:
                    raise _gave_up(error, commit, outage_s) from None
                if outage_s - reminded >= _REMIND_S:
                    reminded = outage_s
                    _log.warning("commit %d waits, learning is paused: %s", commit.seq, error)
                self._clock.sleep(wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            else:
                if self._refused:
                    _log.warning("commit %d is stored, learning goes on", commit.seq)
                return


def _gave_up(error: StoreError, commit: Commit, outage_s: float) -> StoreError:
    return type(error)(
        f"{error}; gave up on commit {commit.seq} after {outage_s:.0f} s: "
        "nothing is lost, run again to go on from the last commit"
    )
