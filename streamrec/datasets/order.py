"""Time order: sorting tables of any size, and letting clicks fall into place among later impressions."""

import heapq
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import IO, TypeVar

__all__ = ["in_time_order", "settle"]

_RUN_ROWS = 1 << 19  # rows sorted in memory at a time: about 200 MB of the widest sets
_PIECE_ROWS = 1 << 10  # rows of a run held in memory while runs are merged

Row = TypeVar("Row")
_time = itemgetter(0)


def in_time_order(rows: Iterable[tuple[int, Row]], run_rows: int = _RUN_ROWS) -> Iterator[tuple[int, Row]]:
    """(time, row) sorted by time; rows of one time keep their order.

    Tables of more than `run_rows` rows are sorted in temporary files (external merge sort, Knuth vol. 3,
    5.4).
    """
    run: list[tuple[int, Row]] = []
    files: list[IO[bytes]] = []
    try:
        for row in rows:
            run.append(row)
            if len(run) == run_rows:
                files.append(_spill(run))
                run = []
        run.sort(key=_time)
        yield from heapq.merge(*map(_unspill, files), run, key=_time) if files else run
    finally:
        for file in files:
            file.close()


def settle(events: Iterable[tuple[int, bytes]], lag_ms: int) -> Iterator[bytes]:
    """Lines in time order, from (time, line) of which none comes more than `lag_ms` too early or too late.

    Events of one time keep their order.
    """
    waiting: list[tuple[int, int, bytes]] = []
    newest = None
    for n, (time_ms, line) in enumerate(events):
        newest = time_ms if newest is None or time_ms > newest else newest
        heapq.heappush(waiting, (time_ms, n, line))
        while waiting[0][0] < newest - lag_ms:
            yield heapq.heappop(waiting)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]


def _spill(run: list[tuple[int, Row]]) -> IO[bytes]:
    run.sort(key=_time)
    file = tempfile.TemporaryFile(prefix="streamrec-sort-")  # noqa: SIM115  (closed by in_time_order)
    for start in range(0, len(run), _PIECE_ROWS):
        pickle.dump(run[start : start + _PIECE_ROWS], file, pickle.HIGHEST_PROTOCOL)
    file.seek(0)
    return file


def _unspill(file: IO[bytes]) -> Iterator[tuple[int, Row]]:
    while True:
        try:
            piece = pickle.load(file)
        except EOFError:
            return
        yield from piece
