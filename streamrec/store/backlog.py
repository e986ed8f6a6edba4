"""What one learner has committed lately: for its next flush, and for a server that comes back without it."""

from threading import Lock

from streamrec.store.log import Entry

__all__ = ["Backlog"]


class Backlog:
    """Consecutive commits of one lease, oldest first; safe to use from several threads."""

    def __init__(self, flushed: int) -> None:
        self._entries: dict[int, Entry] = {}
        self._lock = Lock()
        self._flushed = flushed

    def add(self, entry: Entry) -> None:
        """Keep a commit that the store has acknowledged."""
        with self._lock:
            self._entries[entry.seq] = entry

    def between(self, after: int, upto: int) -> list[Entry] | None:
        """Commits with after < seq ≤ upto; None if not all are here."""
        with self._lock:
            found = [self._entries.get(seq) for seq in range(after + 1, upto + 1)]
        entries = [entry for entry in found if entry is not None]
        return entries if len(entries) == len(found) else None

    def flushed(self, upto: int) -> None:
        """Rows are written up to here.

        What was written before that is forgotten; the rest a crash of the server may still take back.
        """
        with self._lock:
            for seq in [seq for seq in self._entries if seq <= self._flushed]:
                del self._entries[seq]
            self._flushed = upto

    @property
    def waiting_bytes(self) -> int:
        """Size of the commits whose rows are not written yet."""
        with self._lock:
            return sum(len(entry.data) for seq, entry in self._entries.items() if seq > self._flushed)

    def tail(self, upto: int, tail_bytes: int, commits: int) -> int:
        """The first sequence number of those up to `upto` that a log of this size may keep."""
        with self._lock:
            seq = upto + 1
            while seq - 1 in self._entries and upto - seq + 1 < commits:
                tail_bytes -= len(self._entries[seq - 1].data)
                if tail_bytes < 0:
                    break
                seq -= 1
            return seq
