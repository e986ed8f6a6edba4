"""A file as a sink of keyed lines."""

import pytest

from streamrec.errors import SourceError, UsageError
from streamrec.transport import open_sink
from streamrec.transport.log import FileLog, check_log


def test_lines_are_appended_to_what_is_there(tmp_path):
    path = tmp_path / "log.jsonl"
    for lines in ([b"a", b"b"], [], [b"c"]):
        log = open_sink(str(path))()
        log.write(lines, [b"k"] * len(lines))
        log.flush(5)
        log.close()
    assert path.read_bytes() == b"a\nb\nc\n"


def test_a_line_cut_by_a_crash_spoils_no_other(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'a\n{"type":"cl')
    log = FileLog(path)
    log.write([b"b"], [None])
    log.close()
    assert path.read_bytes() == b'a\n{"type":"cl\nb\n'


def test_what_is_flushed_is_in_the_file(tmp_path):
    log = FileLog(tmp_path / "log")
    log.write([b"a"], [b"k"])
    log.flush(5)
    assert (tmp_path / "log").read_bytes() == b"a\n"
    log.close()


def test_a_url_names_a_file_too(tmp_path):
    log = open_sink(f"file://{tmp_path}/log.jsonl")()
    log.write([b"a"], [b"k"])
    log.close()
    assert (tmp_path / "log.jsonl").read_bytes() == b"a\n"


def test_where_no_log_can_be(tmp_path):
    for path in (tmp_path, tmp_path / "no" / "log", tmp_path / "log.jsonl.gz", tmp_path / "log.zst"):
        with pytest.raises(UsageError, match=r"expected a file in|is not compressed"):
            check_log(str(path))
    with pytest.raises(UsageError, match=r"unknown scheme 'ftp': expected a file or file://…, kafka://…"):
        open_sink("ftp://a/b")


def test_a_file_that_cannot_be_written_is_a_fault_of_the_sink(tmp_path):
    with pytest.raises(SourceError, match="cannot be written"):
        FileLog(tmp_path)
    log = FileLog("/dev/full")
    log.write([b"a"], [b"k"])
    with pytest.raises(SourceError, match="No space left"):
        log.flush(5)
    with pytest.raises(SourceError, match="No space left"):
        log.close()
