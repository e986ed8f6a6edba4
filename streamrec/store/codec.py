"""A commit as bytes: self-describing, checked, and nothing in it is executable.

    0   4  b"SRC" and the version, one byte
    4   4  length of the header (uint32)
    8   h  header, JSON, filled with spaces to a multiple of 8:
           {"seq", "time_ms", "tables": [[name, N, W, K], …], "blobs": [[name, bytes], …]}
    …      for each table: ids uint64 (N), deleted uint64 (K), rows float32 (N, W), shadow as bits (⌈N/8⌉
           bytes), each padded to 8
    …      blobs, one after the other, padded to 8
    −4  4  CRC-32C of all before

All numbers are little-endian. Arrays are read in place (`np.frombuffer`) and therefore read-only.
"""

import json
import struct
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from crc32c import crc32c

from streamrec.errors import StoreMismatch
from streamrec.store.base import Commit, Rows

__all__ = ["VERSION", "pack", "stamp", "unpack"]

VERSION = 1
_MAGIC = b"SRC"
_START = struct.Struct("<3sBI")
_END = struct.Struct("<I")
_ALIGN = 8

if sys.byteorder != "little":  # pragma: no cover  (no such machine is supported by numba either)
    raise ImportError("streamrec stores little-endian arrays and needs a little-endian machine")


def pack(commit: Commit) -> bytes:
    """The bytes of a commit.

    Raises:
        ValueError: arrays of one table do not fit each other.

    """
    tables = [[name, *_shape(name, rows)] for name, rows in commit.tables.items()]
    blobs = [(name, len(blob)) for name, blob in commit.blobs.items()]
    described = {"seq": commit.seq, "time_ms": commit.time_ms, "tables": tables, "blobs": blobs}
    header = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-(len(header)) % _ALIGN)
    pieces: list[Any] = [_START.pack(_MAGIC, VERSION, len(header)), header]
    for rows in commit.tables.values():
        pieces += _padded(np.ascontiguousarray(rows.ids, np.uint64))
        pieces += _padded(np.ascontiguousarray(rows.deleted, np.uint64))
        pieces += _padded(np.ascontiguousarray(rows.rows, np.float32))
        pieces += _padded(np.packbits(np.asarray(rows.shadow, np.bool_)))
    pieces += commit.blobs.values()
    pieces.append(b"\0" * (-sum(size for _, size in blobs) % _ALIGN))
    crc = 0
    for piece in pieces:
        crc = crc32c(piece, crc)
    return b"".join([*pieces, _END.pack(crc)])


def unpack(data: bytes, where: str) -> Commit:
    """The commit in these bytes; `where` names them in an error.

    Raises:
        StoreMismatch: another version's format, or damaged.

    """
    if len(data) < _START.size + _END.size or data[:3] != _MAGIC:
        raise StoreMismatch(f"{where}: expected a commit, got {data[:12]!r}: is this streamrec's model?")
    if data[3] != VERSION:
        raise StoreMismatch(
            f"{where}: written in format {data[3]}, this streamrec reads {VERSION}: "
            "use the version that wrote it"
        )
    expected = _END.unpack_from(data, len(data) - _END.size)[0]
    actual = crc32c(memoryview(data)[: -_END.size])
    if actual != expected:
        raise StoreMismatch(
            f"{where}: damaged (checksum {actual:08x}, expected {expected:08x}): "
            "restore a backup or start over with --fresh"
        )
    try:  # a checksum says that nothing was damaged, not who wrote it
        return _read(data)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise StoreMismatch(
            f"{where}: not written by streamrec ({type(error).__name__}): see who else writes to this store, "
            "and start over with --fresh"
        ) from None


def stamp(data: bytes) -> tuple[int, int]:
    """Sequence number and time_ms of a packed commit, without reading the rest."""
    header = json.loads(data[_START.size : _START.size + _START.unpack_from(data)[2]])
    return header["seq"], header["time_ms"]


def _read(data: bytes) -> Commit:
    header_bytes = _START.unpack_from(data)[2]
    at = _START.size + header_bytes
    header = json.loads(data[_START.size : at])
    tables = {}
    for name, n, width, k in header["tables"]:
        ids = np.frombuffer(data, np.uint64, n, at)
        at += 8 * n
        deleted = np.frombuffer(data, np.uint64, k, at)
        at += 8 * k
        rows = np.frombuffer(data, np.float32, n * width, at).reshape(n, width)
        at += _ceil(4 * n * width)
        bits = np.frombuffer(data, np.uint8, (n + 7) // 8, at)
        at += _ceil((n + 7) // 8)
        tables[name] = Rows(ids, rows, np.unpackbits(bits, count=n).view(np.bool_), deleted)
    blobs = dict(_cut(data, at, header["blobs"]))
    return Commit(header["seq"], tables, blobs, header["time_ms"])


def _cut(data: bytes, at: int, sizes: list[tuple[str, int]]) -> Iterator[tuple[str, bytes]]:
    for name, size in sizes:
        yield name, data[at : at + size]
        at += size


def _shape(name: str, rows: Rows) -> tuple[int, int, int]:
    n, width = rows.rows.shape
    if rows.ids.shape != (n,) or rows.shadow.shape != (n,):
        raise ValueError(
            f"table {name!r}: ids {rows.ids.shape}, rows {rows.rows.shape}, shadow {rows.shadow.shape}"
        )
    return n, width, len(rows.deleted)


def _ceil(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _padded(array: np.ndarray) -> tuple[memoryview, bytes]:
    # a view of an empty array cannot be cast
    view = memoryview(array.data).cast("B") if array.size else memoryview(b"")
    return view, b"\0" * (_ceil(view.nbytes) - view.nbytes)
