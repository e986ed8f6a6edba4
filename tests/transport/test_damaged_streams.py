"""Streams cut short, damaged or absurd: whole lines before the fault come out, and it says what and where."""

import gzip
import tracemalloc

import pytest
import zstandard

from streamrec.transport import open_source

LINES = [b'{"id":"%05d","x":"%s"}\n' % (i, str(i * 7919).encode()) for i in range(30_000)]
DATA = b"".join(LINES)
PACKED = {
    "gzip": gzip.compress(DATA, mtime=0),
    "gzip members": gzip.compress(DATA[:400_000], mtime=0) + gzip.compress(DATA[400_000:], mtime=0),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress(DATA),
}


def read_all(path):
    source, chunks = open_source(str(path)), []
    while (chunk := source.read()) is not None:
        chunks.append(chunk)
    source.close()
    return b"".join(chunk.data for chunk in chunks), [d for chunk in chunks for d in chunk.damage], chunks


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.999999])
def test_cut_short(tmp_path, kind, share):
    packed = PACKED[kind]
    (tmp_path / "a.jsonl").write_bytes(packed[: int(len(packed) * share)])
    data, damage, chunks = read_all(tmp_path / "a.jsonl")
    assert DATA.startswith(data)
    assert data.endswith(b"\n")
    assert len(data) > share * len(DATA) * 0.9 - 131_072  # Zstandard gives whole blocks only
    assert len(damage) == 1
    assert "cut short after" in damage[0].reason
    assert "a.jsonl" in damage[0].reason
    assert damage[0].offset == len(data)
    assert DATA[len(data) :].startswith(damage[0].raw)
    assert b"\n" not in damage[0].raw
    assert chunks[-1].end_offset >= len(data) + len(damage[0].raw)
    if "gzip" in kind:  # not one byte that the decompressor could know is lost
        whole = gzip_prefix(packed[: int(len(packed) * share)])
        assert data + damage[0].raw == whole


def gzip_prefix(packed: bytes) -> bytes:
    import zlib

    out = b""
    while packed:
        member = zlib.decompressobj(31)
        out += member.decompress(packed)
        packed = member.unused_data
    return out


def test_cut_inside_the_header(tmp_path):
    for kind, packed in PACKED.items():
        (tmp_path / "a.jsonl").write_bytes(packed[:5])
        data, damage, _ = read_all(tmp_path / "a.jsonl")
        assert (data, len(damage)) == (b"", 1), kind
        assert "cut short after 0 uncompressed bytes" in damage[0].reason


@pytest.mark.parametrize("kind", PACKED)
def test_flipped_bytes(tmp_path, kind):
    packed = bytearray(PACKED[kind])
    at = len(packed) * 2 // 3
    packed[at : at + 64] = b"\xff" * 64
    (tmp_path / "a.jsonl").write_bytes(packed)
    data, damage, _ = read_all(tmp_path / "a.jsonl")
    assert damage
    assert "damaged after" in damage[-1].reason
    common = next((i for i, (a, b) in enumerate(zip(data, DATA, strict=False)) if a != b), len(data))
    assert common > len(DATA) // 3


def test_wrong_checksum_loses_no_line(tmp_path):
    packed = bytearray(PACKED["gzip"])
    packed[-8] ^= 1
    (tmp_path / "a.jsonl").write_bytes(packed)
    data, damage, _ = read_all(tmp_path / "a.jsonl")
    assert data == DATA
    assert "incorrect data check" in damage[0].reason


def test_resume_after_damage_gives_nothing_more(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(PACKED["gzip"][:10_000])
    source = open_source(str(tmp_path / "a.jsonl"))
    chunks = list(iter(source.read, None))
    source.seek({source.partition: chunks[-1].end_offset})
    rest = list(iter(source.read, None))
    source.close()
    assert [chunk.data for chunk in rest] in ([], [b""])  # the cut itself may be told again, no line is


def test_files_after_a_cut_one_are_read(tmp_path):
    (tmp_path / "1.jsonl.gz").write_bytes(PACKED["gzip"][:10_000])
    (tmp_path / "2.jsonl").write_bytes(b"last\n")
    data, damage, chunks = read_all(tmp_path)
    assert data.endswith(b"\nlast\n")
    assert len(damage) == 1
    assert [chunk.offset for chunk in chunks[1:]] == [chunk.end_offset for chunk in chunks[:-1]]


@pytest.mark.parametrize("kind", ["plain", "gzip", "zstd"])
def test_a_100_mb_line_is_never_held(tmp_path, kind):
    pack = {"plain": bytes, "gzip": lambda d: gzip.compress(d, 1), "zstd": zstandard.compress}[kind]
    (tmp_path / "a.jsonl").write_bytes(pack(b"before\n" + b"x" * 100_000_000 + b"\nafter\n"))
    tracemalloc.start()
    try:
        data, damage, chunks = read_all(tmp_path / "a.jsonl")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert data == b"before\nafter\n"
    assert [(d.offset, len(d.raw)) for d in damage] == [(7, 1 << 20)]
    assert "line of 100,000,000 bytes is longer than 1,048,576" in damage[0].reason
    assert chunks[-1].end_offset == 100_000_000 + 14
    assert peak < 40_000_000


def test_binary_without_newlines_is_one_damage(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\0\x01\x02\x03" * 1_000_000)
    data, damage, _ = read_all(tmp_path / "a.jsonl")
    assert data == b""
    assert len(damage) == 1
