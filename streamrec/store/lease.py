"""One learner's right to commit to one model in Redis.

Steps of a commit; a crash between any two of them leaves the model at the last complete commit:

1. pack   the commit as bytes with a checksum
2. send   its parts; the script that adds the last one also moves the head, if the epoch is still this
          learner's
3. keep   the bytes for the next flush, which a thread of its own does

The server may have been restarted without its last second (`appendfsync everysec`). Then the lease takes
its epoch again, if nobody took a newer one, and sends again what the server lost: it keeps what was committed
since the flush before the last. The same helps where a replica takes over that lacks the last writes; there a
commit is acknowledged once a replica has it.
"""

import secrets
from threading import Condition, Lock, Thread

from streamrec.clock import Clock
from streamrec.errors import StoreError, StoreFull, StoreMismatch, StoreUnavailable
from streamrec.store import log, scripts
from streamrec.store.backlog import Backlog
from streamrec.store.base import Commit
from streamrec.store.codec import pack
from streamrec.store.flush import Flusher
from streamrec.store.keys import GROUPS, MODELS, Keys
from streamrec.store.limits import Limits
from streamrec.store.log import Behind, Entry, Fault, Forgotten, Owner
from streamrec.store.pace import Pace
from streamrec.store.wire import Wires

__all__ = ["PIN_MS", "RedisLease"]

#: How long a reader may take for one piece before flushes stop waiting for it.
PIN_MS = 10_000
#: A part's number within its commit and epoch: 256 parts an attempt (4 GiB), 4,096 attempts.
_PARTS, _ATTEMPTS = 256, 4096
#: How often one step is tried while the server comes back from an older save.
_FORGOTTEN = 3
#: Pause after a flush that the store refused.
_RETRY_S = 1.0
#: A flush under way is waited for so long where the lease must be left at once; most take less.
_LEAVE_S = 0.2


class RedisLease:
    """See `streamrec.store.base.Lease`. `commit` is for one thread at a time, `flush` for any."""

    def __init__(
        self, wires: Wires, model: str, *, fresh: bool, limits: Limits, clock: Clock, fault: Fault
    ) -> None:
        self._wires = wires
        self._wire = wires.take()
        self._keys = Keys(model)
        self._limits = limits
        self._clock = clock
        self._fault = fault
        self._owner = Owner(0, secrets.token_hex(8))
        self._seq = self._acquire(fresh)
        self.epoch = self._owner.epoch
        self._attempt = 0
        self._backlog = Backlog(0)
        pace = Pace(limits.flush_share, self._is_pressing, clock)
        self._flusher = Flusher(wires, self._keys, self._owner, limits, pace, fault)
        self._flushing = Lock()
        self._awaited = 0  # by how many a flush is waited for
        self._sending = Lock()
        self._wake = Condition()
        self._closed = False
        self._trouble: BaseException | None = None
        self._thread: Thread | None = None
        if not self._flusher.is_whole():  # nobody could load it otherwise
            self._flush_once()

    def commit(self, commit: Commit) -> None:
        """Store it atomically: steps 1 to 3."""
        if self._trouble is not None:
            raise self._trouble
        data = pack(commit)  # 1
        self._fault("commit 1 pack")
        self._send(Entry(commit.seq, data))  # 2
        self._fault("commit 2 send")
        self._backlog.add(Entry(commit.seq, data))  # 3
        self._seq = max(self._seq, commit.seq)
        self._fault("commit 3 keep")
        self._start()
        waiting = self._backlog.waiting_bytes
        if waiting > self._limits.log_bytes:
            self._flush_once()
        elif waiting > self._limits.flush_bytes:
            with self._wake:
                self._wake.notify()

    def flush(self) -> None:
        """Write the keyed rows up to the last commit and trim the log; waits for readers of an older one."""
        deadline = self._clock.monotonic_s() + 2 * PIN_MS / 1000
        while self._flush_once() and self._clock.monotonic_s() < deadline:
            self._clock.sleep(0.02)

    def close(self, *, flush: bool = True) -> None:
        """Stop the background work and flush once more; what the store refuses now stays in the log.

        Without `flush`, a flush under way is left where it is, as a crash would leave it.
        """
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(None if flush else _LEAVE_S)
        try:
            if flush and self._trouble is None:
                self._flush_once()
        except StoreError:
            pass
        finally:
            if self._thread is None or not self._thread.is_alive():  # else the store ends both when it closes
                self._flusher.close()
                self._wires.leave(self._wire)

    def _acquire(self, fresh: bool, epoch: int = 0) -> int:
        """Take the next epoch, or `epoch` again; returns the head's sequence number."""
        keys = self._keys
        owned = (keys.head, keys.log, keys.blobs, keys.spaces, keys.trash, keys.tick)
        with self._wires.lent() as wire:
            taken, seq = log.checked(
                wire.run(scripts.ACQUIRE, owned, self._owner.token, int(fresh), epoch), keys.name, self._owner
            )
            self._owner = self._owner._replace(epoch=taken)
            # from here on no older learner can write rows
            wire.runs(
                scripts.FENCE, [((keys.fence(group),), (self._owner.fence,)) for group in range(GROUPS)]
            )
            wire.call("SADD", MODELS, keys.name)
            wire.settle()  # a replica that did not know the fences would let an older learner write
        return seq

    def _send(self, entry: Entry) -> None:
        with self._sending:
            self._append_all(entry)

    def _send_again(self, upto: int) -> None:
        """Append what the store has lost, unless a commit has just done so."""
        with self._sending:
            seq = int(self._wire.call("HGET", self._keys.head, "seq") or 0)
            if seq < upto:
                self._append_all(*self._lost(seq, upto))

    def _append_all(self, *entries: Entry) -> None:
        """Append commits; first those before them that the store has lost."""
        last = entries[-1]
        for _ in range(_FORGOTTEN):
            try:
                for each in entries:
                    self._append(each)
                return
            except Forgotten:
                self._acquire(False, self._owner.epoch)
            except Behind as behind:
                entries = (*self._lost(behind.seq, last.seq - 1), last)
        raise self._forgotten()

    def _append(self, entry: Entry) -> None:
        first = self._attempt % _ATTEMPTS * _PARTS
        try:
            log.append(
                self._wire, self._keys, self._owner, entry.data, (self._limits.part_bytes, first), self._fault
            )
            self._wire.settle(self._keys.head)
        except BaseException:
            self._attempt += 1
            raise

    def _forgotten(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"model {self._keys.name!r}: the store keeps forgetting commits: is it restarting over and over?"
        )

    def _lost(self, after: int, upto: int) -> list[Entry]:
        """Commits that the store had and has not any more."""
        entries = self._backlog.between(after, upto)
        if entries is None:
            raise StoreMismatch(
                f"model {self._keys.name!r}: the store is at commit {after}, expected {upto}: it lost data; "
                "start the learner again, it goes on from there"
            )
        return entries

    def _flush_once(self) -> bool:
        """A round that somebody waits for: also one under way rests no longer."""
        with self._wake:
            self._awaited += 1
        try:
            return self._flush_gently()
        finally:
            with self._wake:
                self._awaited -= 1

    def _is_pressing(self) -> bool:
        waiting = self._backlog.waiting_bytes
        return self._closed or self._awaited > 0 or waiting > 2 * self._limits.flush_bytes

    def _flush_gently(self) -> bool:
        with self._flushing:
            upto = self._seq
            for _ in range(_FORGOTTEN):
                try:
                    return self._flusher.round(self._backlog, upto)
                except Forgotten:
                    self._acquire(False, self._owner.epoch)
                except Behind:
                    self._send_again(upto)
        raise self._forgotten()

    def _start(self) -> None:
        if self._thread is None and self._limits.flush_s < float("inf"):
            self._thread = Thread(target=self._work, name=f"flush {self._keys.name}", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        pause = self._limits.flush_s
        while True:
            with self._wake:
                if not self._closed:
                    self._wake.wait(pause)
                if self._closed:
                    return
            pause = self._limits.flush_s
            try:
                self._flush_gently()
            except (StoreFull, StoreUnavailable):
                pause = _RETRY_S  # the log has it; commits tell the learner what is wrong with the store
            except BaseException as error:  # fenced, damaged, or a fault of ours: the next commit raises it
                if not self._wires.closed:
                    self._trouble = error
                return
