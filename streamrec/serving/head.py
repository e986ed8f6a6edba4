"""Heads of plain requests, read without a parser; whatever is special about one leaves it to the parser."""

import re
from typing import NamedTuple

__all__ = ["Head", "plain_head"]

#: Requests that are computed one after another. What is small, or waits for others, is not worth it. Fields
#: as RFC 9110 has them, section 5: a name of token characters, no folded lines.
_HEAD = re.compile(
    rb"POST (/v1/(?:rank|retrieve|recommend)) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n"
)
_DIGITS = re.compile(rb"[0-9]{1,18}")
#: With one of these there is more to do than to read a body and to answer.
_SPECIAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade"})
#: At most one of each, or it is not known which counts.
_SINGLE = (b"host", b"content-length", b"connection", b"authorization")


class Head(NamedTuple):
    """What the head of a request says."""

    path: str
    n_bytes: int  # of the head with the empty line
    n_body: int  # bytes of the body
    authorization: bytes | None


def plain_head(data: bytes) -> Head | None:
    """The head that data begin with; None where it is not whole, not plain or for another path."""
    if (found := _HEAD.match(data)) is None:
        return None
    lines = [line.partition(b":") for line in found[2].split(b"\r\n")]
    names = [name.lower() for name, _, _ in lines]
    if any(names.count(name) > 1 for name in _SINGLE) or not _SPECIAL.isdisjoint(names):
        return None
    fields = dict(zip(names, (value.strip(b" \t") for _, _, value in lines), strict=True))
    length = fields.get(b"content-length", b"")
    stays = fields.get(b"connection", b"keep-alive").lower() == b"keep-alive"
    if not _DIGITS.fullmatch(length) or b"host" not in fields or not stays:
        return None
    return Head(found[1].decode(), found.end(), int(length), fields.get(b"authorization"))
