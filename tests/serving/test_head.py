"""Which heads are plain, and what they say."""

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.serving.head import Head, plain_head

HEAD = b"POST /v1/rank HTTP/1.1\r\nHost: x\r\nContent-LENGTH: \t7 \r\n"


def test_what_it_says() -> None:
    head = HEAD + b"connection: Keep-Alive\r\nauthorization: Bearer a\r\nx:\r\n\r\n"
    assert plain_head(head + b"1234567") == Head("/v1/rank", len(head), 7, b"Bearer a")
    assert plain_head(HEAD + b"\r\n") == Head("/v1/rank", len(HEAD) + 2, 7, None)


SPECIAL = {
    "not whole": HEAD + b"\r",
    "another path": HEAD.replace(b"rank", b"model") + b"\r\n",
    "a query": HEAD.replace(b"rank", b"rank?a=1") + b"\r\n",
    "another method": HEAD.replace(b"POST", b"GET") + b"\r\n",
    "an older protocol": HEAD.replace(b"1.1", b"1.0") + b"\r\n",
    "no length": b"POST /v1/rank HTTP/1.1\r\nhost: x\r\n\r\n",
    "no host": b"POST /v1/rank HTTP/1.1\r\ncontent-length: 7\r\n\r\n",
    "two hosts": HEAD + b"host: y\r\n\r\n",
    "two lengths": HEAD + b"content-length: 7\r\n\r\n",
    "a signed length": HEAD.replace(b"7", b"+7") + b"\r\n",
    "chunks": HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    "hidden chunks": HEAD + b"x: a\nTransfer-Encoding: chunked\r\n\r\n",
    "waits for leave": HEAD + b"expect: 100-continue\r\n\r\n",
    "a compressed body": HEAD + b"content-encoding: gzip\r\n\r\n",
    "an upgrade": HEAD + b"upgrade: h2c\r\n\r\n",
    "a last request": HEAD + b"connection: close\r\n\r\n",
    "two tokens": HEAD + b"authorization: a\r\nAuthorization: b\r\n\r\n",
    "a folded line": HEAD + b"x: a\r\n b\r\n\r\n",
    "a name with space": HEAD + b"content-length : 9\r\n\r\n",
    "a control character": HEAD + b"x: a\x00\r\n\r\n",
}


@pytest.mark.parametrize("head", SPECIAL.values(), ids=SPECIAL)
def test_what_is_special_is_left(head: bytes) -> None:
    assert plain_head(head) is None


names = st.sampled_from(
    [b"host", b"Host", b"content-length", b"connection", b"x-y", b"te", b"a b", b"", b"transfer-encoding"]
)
values = st.sampled_from(
    [b" x", b"5", b" 5 ", b"\t12", b"-1", b" keep-alive", b" close", b"", b" \xff", b"a\x0b", b" chunked"]
)
lines = st.lists(st.tuples(names, values), max_size=4)
ends = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r"])


@settings(max_examples=300, deadline=None)
@given(lines, ends)
def test_what_is_plain_is_what_the_parser_finds(fields: list[tuple[bytes, bytes]], end: bytes) -> None:
    given = [(b"host", b"x"), (b"content-length", b" 5"), *fields][-4:]
    data = b"POST /v1/rank HTTP/1.1\r\n" + b"".join(b"%b:%b%b" % (*field, end) for field in given) + b"\r\n"
    head = plain_head(data)
    if head is None:
        return
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(data)
    request = parser.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target, head.n_bytes) == (b"POST", b"/v1/rank", len(data))
    told = dict(request.headers)
    assert int(told[b"content-length"]) == head.n_body
    assert b"transfer-encoding" not in told
    assert told.get(b"authorization") == head.authorization
