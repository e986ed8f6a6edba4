"""URLs and limits."""

import pytest

import streamrec.transport
from streamrec.errors import UsageError
from streamrec.transport import open_source
from streamrec.transport.registry import SCHEMES


def test_unknown_scheme_names_the_known_ones():
    with pytest.raises(UsageError, match=r"unknown scheme 'ftp': expected a file, a directory, - or file://"):
        open_source("ftp://host/x")


def test_file_url(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"x\n")
    source = open_source(f"file://{tmp_path}/a.jsonl")
    assert source.read().data == b"x\n"
    source.close()


@pytest.mark.parametrize("limits", [{"chunk_bytes": 0}, {"max_line_bytes": -1}])
def test_limits_must_be_positive(limits):
    with pytest.raises(UsageError, match="must be at least 1"):
        open_source("x", **limits)


def test_public_names_are_sorted_and_there():
    assert streamrec.transport.__all__ == sorted(streamrec.transport.__all__)
    assert all(hasattr(streamrec.transport, name) for name in streamrec.transport.__all__)
    assert "file" in SCHEMES
