"""Files cut back to the last commit, dead letters, recorded streams that are the same bytes every time."""

import base64
import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrec.errors import SourceError, UsageError
from streamrec.transport import LineWriter, open_letters, open_source, write_stream
from streamrec.transport.deadletter import MAX_RAW_BYTES, dead_letter


def test_a_crash_between_two_commits_leaves_no_line_twice(tmp_path):
    file = tmp_path / "predictions.txt"
    writer = LineWriter(file)
    writer.write(b"1\n2\n")
    committed = writer.position()
    writer.write(b"3\n")
    assert file.read_bytes() == b"1\n2\n"  # position() has written what it counts
    writer.flush()  # and the process dies here
    again = LineWriter(file, resume_at=committed)
    again.write(b"3\n4\n")
    again.close()
    again.close()
    writer.close()
    assert file.read_bytes() == b"1\n2\n3\n4\n"


def test_without_resumption_an_old_file_is_replaced(tmp_path):
    (tmp_path / "f").write_bytes(b"old\n")
    LineWriter(tmp_path / "f").close()
    assert (tmp_path / "f").read_bytes() == b""


def test_another_file_than_before_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds 0 bytes, but 7 were written by the last commit"):
        LineWriter(tmp_path / "f", resume_at=7)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        open_letters(str(tmp_path / "nowhere" / "f"), "m")


def test_writing_to_a_device(tmp_path):
    writer = LineWriter("/dev/null")
    writer.write(b"x\n")
    assert writer.position() == 2
    writer.close()


@given(st.binary(max_size=50), st.text(max_size=20), st.integers(0, 2**60))
def test_every_record_comes_back(raw, reason, offset):
    line = dead_letter(reason, "p", offset, raw)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    record = json.loads(line)
    assert (record["reason"], record["partition"], record["offset"]) == (reason, "p", offset)
    kept = record["raw"].encode() if "raw" in record else base64.b64decode(record["raw_base64"])
    assert kept == raw
    assert "truncated" not in record


@pytest.mark.parametrize(
    "raw", [b"x" * (MAX_RAW_BYTES + 5), "é".encode() * MAX_RAW_BYTES, b"a" + "é".encode() * MAX_RAW_BYTES]
)
def test_long_records_are_cut_between_characters(raw):
    record = json.loads(dead_letter("long", "p", 0, raw))
    assert record["truncated"] == len(raw)
    assert raw.startswith(record["raw"].encode())
    assert MAX_RAW_BYTES - 1 <= len(record["raw"].encode()) <= MAX_RAW_BYTES


def test_whole_record_ending_inside_a_character_is_base64():
    assert "raw_base64" in json.loads(dead_letter("cut", "p", 0, "é".encode()[:1]))


def test_reasons_with_lone_surrogates_are_written():
    json.loads(dead_letter("bad name '\udce9'", "p", 0, b""))


def test_dead_letters_to_nowhere():
    letters = open_letters("none", "m")
    letters.write("r", "p", 0, b"x")
    assert letters.cut()() is None
    assert letters.name == ""
    letters.close()


def test_dead_letters_resume(tmp_path):
    def write(letters, *offsets):
        for offset in offsets:
            letters.write("r", "p", offset, b"\xff")
        return letters.cut()()

    whole, crashed = (open_letters(f"{tmp_path}/{name}", "m") for name in "ab")
    write(whole, 1, 2, 3)
    whole.close()
    committed = write(crashed, 1, 2)
    write(crashed, 3)
    crashed.close()
    again = open_letters(f"{tmp_path}/b", "m", committed)
    write(again, 3)
    again.close()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_recorded_streams_are_the_same_bytes(tmp_path, suffix):
    contents = []
    for name in ("a", "b"):
        with write_stream(tmp_path / f"{name}.jsonl{suffix}") as stream:
            stream.write(b"one\n")
            stream.write(b"two\n")
        contents.append((tmp_path / f"{name}.jsonl{suffix}").read_bytes())
        source = open_source(str(tmp_path / f"{name}.jsonl{suffix}"))
        assert source.read().data == b"one\ntwo\n"
        source.close()
    assert contents[0] == contents[1]
    assert suffix != ".gz" or contents[0][4:8] == bytes(4)  # no time in the header
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".part"] == []


def test_a_stream_that_fails_leaves_the_old_one(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"old\n")

    def fail() -> None:
        with write_stream(tmp_path / "a.jsonl") as stream:
            stream.write(b"new\n")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.jsonl", b"old\n")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_clear_line():
    writer = LineWriter("/dev/full")
    writer.write(b"x\n")
    for call in (writer.position, writer.flush, writer.close):
        with pytest.raises(SourceError, match="/dev/full: cannot be written: No space left on device"):
            call()
    writer.close()
    with pytest.raises(SourceError, match="No space left"), write_stream("/dev/full") as stream:
        stream.write(b"x\n")


def test_a_stream_to_nowhere(tmp_path):
    with pytest.raises(SourceError, match="cannot be written"), write_stream(tmp_path / "nowhere" / "a"):
        pass


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with write_stream(tmp_path / "pipe") as stream:
        stream.write(b"one\n")
    reader.join()
    assert lines == [b"one\n"]
    assert (tmp_path / "pipe").is_fifo()


def test_standard_output(capfdbinary):
    with write_stream("-") as stream:
        stream.write(b"one\n")
    assert capfdbinary.readouterr().out == b"one\n"
