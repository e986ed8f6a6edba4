"""Recorded streams against a reference that holds all in memory, whatever the storage and the chunk size."""

import gzip
import io
import os
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamrec.errors import SourceError
from streamrec.transport import Source, open_source
from streamrec.transport.file import FileSource

STORAGE = {
    "plain": lambda data: data,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "gzip members": lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:]) + b"\0" * 5,
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "zstd frames": lambda data: (
        zstandard.compress(data[:7]) + b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstandard.compress(data[7:])
    ),
}


class Sources:
    """Opens sources, and closes them after the test."""

    def __init__(self) -> None:
        self.opened: list[Source] = []

    def __call__(self, path: Path | str, **limits: int) -> FileSource:
        source = open_source(str(path), **limits)
        assert isinstance(source, FileSource)
        self.opened.append(source)
        return source


@pytest.fixture
def sources():
    opener = Sources()
    yield opener
    for source in opener.opened:
        source.close()


class Record(NamedTuple):
    offset: int
    line: bytes  # with its newline; b"" for an over-long one
    skipped: bytes  # the start of an over-long one


def reference(files: list[bytes], max_line_bytes: int) -> list[Record]:
    records, base = [], 0
    for data in files:
        lines = data.split(b"\n")
        for line in lines if lines[-1] else lines[:-1]:
            long = len(line) > max_line_bytes
            records.append(
                Record(base, b"" if long else line + b"\n", line[:max_line_bytes] if long else b"")
            )
            base += len(line) + 1
    return records


def records_of(source: Source) -> list[Record]:
    """Everything that is left, with the promises of every chunk checked."""
    records: list[Record] = []
    previous = None
    while (chunk := source.read()) is not None:
        assert chunk.data or chunk.damage
        assert previous in (None, chunk.offset)
        offset = chunk.offset
        for line in chunk.data.splitlines(keepends=True) if b"\r" not in chunk.data else split(chunk.data):
            assert line.endswith(b"\n")
            records.append(Record(offset, line, b""))
            offset += len(line)
        for damage in chunk.damage:
            assert damage.offset >= offset
            records.append(Record(damage.offset, b"", damage.raw))
        previous = chunk.end_offset
    assert source.read() is None
    return records


def split(data: bytes) -> list[bytes]:
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


streams = st.lists(
    st.lists(st.binary(max_size=9), max_size=8).map(b"\n".join), min_size=1, max_size=3
).filter(lambda files: any(files) and not any(data.startswith((b"\x1f\x8b", b"\x28\xb5")) for data in files))


@pytest.mark.parametrize("storage", STORAGE)
@settings(max_examples=60, deadline=None)
@given(files=streams, chunk_bytes=st.integers(1, 40), max_line_bytes=st.integers(1, 12))
@example(files=[b"", b"a\nb"], chunk_bytes=1, max_line_bytes=1)
@example(files=[b"0123456789abc\nx\n0123456789abc", b"x"], chunk_bytes=40, max_line_bytes=5)
@example(files=[b"\n\n", b"\n"], chunk_bytes=3, max_line_bytes=5)
def test_equals_reference_and_resumes_anywhere(tmp_path_factory, storage, files, chunk_bytes, max_line_bytes):
    folder = tmp_path_factory.mktemp("stream")
    for i, data in enumerate(files):
        (folder / f"{i}.jsonl").write_bytes(STORAGE[storage](data))
    expected = reference(files, max_line_bytes)

    sources = Sources()
    limits = {"chunk_bytes": chunk_bytes, "max_line_bytes": max_line_bytes}
    source = sources(folder, **limits)
    assert records_of(source) == expected
    partition = source.partition
    logical_size = sum(len(data) + (data[-1:] not in (b"", b"\n")) for data in files)
    ends = [*(record.offset for record in expected[1:]), logical_size]
    for i, offset in enumerate(ends):
        source.seek({partition: offset})
        assert records_of(source) == expected[i + 1 :]
        again = sources(folder, **limits)
        again.seek({partition: offset})
        assert records_of(again) == expected[i + 1 :]
    source.seek({"another": 1})
    assert records_of(source) == expected
    for opened in sources.opened:
        opened.close()


@pytest.mark.parametrize("storage", STORAGE)
def test_partition_does_not_depend_on_storage_or_path(tmp_path, storage, sources):
    data = b'{"id":"1"}\n{"id":"2"}\n'
    suffix = {"g": ".gz", "z": ".zst"}.get(storage[0], "")
    (tmp_path / "other").mkdir()
    (tmp_path / "a.jsonl").write_bytes(data)
    (tmp_path / "other" / f"a.jsonl{suffix}").write_bytes(STORAGE[storage](data))
    first, second = sources(tmp_path / "a.jsonl"), sources(tmp_path / "other" / f"a.jsonl{suffix}")
    assert first.partition == second.partition
    assert first.partition.startswith("a.jsonl#")


def test_another_stream_of_the_same_name_is_another_partition(tmp_path, sources):
    for day in ("monday", "tuesday"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "events.jsonl").write_bytes(f'{{"id":"{day}"}}\n'.encode())
    partitions = {sources(tmp_path / day / "events.jsonl").partition for day in ("monday", "tuesday")}
    assert len(partitions) == 2


def test_a_grown_stream_goes_on(tmp_path, sources):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"one\ntwo")
    source = sources(file)
    assert records_of(source)[-1] == (4, b"two\n", b"")
    end = 8
    file.write_bytes(b"one\ntwo\nthree\n")
    source.seek({source.partition: end})
    assert source.read().data == b"three\n"


def test_a_directory_grows_by_files(tmp_path, sources):
    (tmp_path / "1.jsonl").write_bytes(b"one\n")
    source = sources(tmp_path)
    end = source.read().end_offset
    (tmp_path / "2.jsonl.gz").write_bytes(gzip.compress(b"two\n"))
    again = sources(tmp_path)
    again.seek({again.partition: end})
    assert again.read() == (again.partition, 4, b"two\n", (), 8, None)


@pytest.mark.parametrize(("offset", "why"), [(2, "inside a line"), (9, "past its end at 8")])
def test_a_changed_stream_is_refused(tmp_path, offset, why, sources):
    (tmp_path / "a.jsonl").write_bytes(b"one\ntwo\n")
    source = sources(tmp_path / "a.jsonl")
    with pytest.raises(SourceError, match=why):
        source.seek({source.partition: offset})


def test_directory_reads_streams_only_by_name(tmp_path, sources):
    names = [
        "b.jsonl",
        "a.ndjson.gz",
        "c.json.zst",
        "d.gz",
        "README.md",
        "x.csv.gz",
        ".hidden.jsonl",
        "_part.jsonl",
    ]
    for name in names:
        (tmp_path / name).write_bytes(name.encode() + b"\n")
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    lines = [record.line for record in records_of(sources(tmp_path))]
    assert lines == [b"a.ndjson.gz\n", b"b.jsonl\n", b"c.json.zst\n", b"d.gz\n"]


def test_progress(tmp_path, sources):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"x" * 99 + b"\n" + b"y" * 99 + b"\n")
    source = sources(file, chunk_bytes=100)
    shares = [source.progress()]
    while source.read():
        shares.append(source.progress())
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    source.close()


class _Stdin:
    def __init__(self, data: bytes) -> None:
        self.buffer = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]


def test_standard_input(monkeypatch, sources):
    monkeypatch.setattr(sys, "stdin", _Stdin(gzip.compress(b"one\ntwo\nthree")))
    source = sources("-")
    assert source.progress() is None
    source.seek({source.partition: 4})
    assert [record.line for record in records_of(source)] == [b"two\n", b"three\n"]
    with pytest.raises(SourceError, match="cannot be read twice"):
        source.seek({})


def test_a_pipe_goes_back_within_its_last_chunk(monkeypatch, sources):
    monkeypatch.setattr(sys, "stdin", _Stdin(b"one\ntwo\nthree\nfour and more\nfive\n"))
    source = sources("-", chunk_bytes=1000, max_line_bytes=6)
    partition = source.partition
    source.seek({partition: 4})
    source.seek({partition: 4})
    chunk = source.read()
    assert (chunk.offset, chunk.data, len(chunk.damage)) == (4, b"two\nthree\n", 1)
    source.seek({partition: 8})
    assert source.read() == (partition, 8, b"three\n", chunk.damage, chunk.end_offset, None)
    source.seek({partition: 14})
    assert source.read() == (partition, 14, b"", chunk.damage, chunk.end_offset, None)
    source.seek({partition: chunk.end_offset})
    assert source.read().data == b"five\n"
    assert source.read() is None
    source.seek({partition: chunk.end_offset + 5})
    assert source.read() is None
    with pytest.raises(SourceError, match="cannot be read twice"):
        source.seek({partition: 4})


def test_named_pipe(tmp_path, sources):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"one\ntwo\n" * 20_000))
    writer.start()
    source = sources(pipe)
    assert len(records_of(source)) == 40_000
    writer.join()
    source.close()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file or directory"),
        (lambda path: path.mkdir(), "no recorded stream in this directory"),
        (lambda path: path.write_bytes(b""), "is empty: expected JSON lines"),
        (lambda path: path.write_bytes(gzip.compress(b"")), "is empty: expected JSON lines"),
        (lambda path: path.write_bytes(zstandard.compress(b"")), "is empty: expected JSON lines"),
    ],
)
def test_nothing_to_read_is_one_clear_line(tmp_path: Path, make, message, sources):
    make(tmp_path / "x.jsonl")
    with pytest.raises(SourceError, match=message) as error:
        sources(tmp_path / "x.jsonl")
    assert "\n" not in str(error.value)
    assert "x.jsonl" in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden_file(tmp_path, sources):
    (tmp_path / "a.jsonl").write_bytes(b"x\n")
    (tmp_path / "a.jsonl").chmod(0)
    with pytest.raises(SourceError, match="Permission denied"):
        sources(tmp_path / "a.jsonl")
