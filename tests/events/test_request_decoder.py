"""What the compiled decoder takes of a request is what the models, the lines and their decoder make of it."""

import json
from typing import Any

import numpy as np
import pytest
from event_lines import damaged, objects, space, tame_features, tame_strings, wild_features, wild_scalars
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from streamrec.events import request as module
from streamrec.events.block import EventBlock, Examples
from streamrec.events.model import MAX_ENTRIES
from streamrec.events.request import Request, RequestDecoder
from streamrec.serving.api import MAX_CANDIDATES, RankRequest
from streamrec.serving.lines import example_lines

TEXT_FIELDS = ("title", "tags")
TIME_MS = 1_700_000_000_000
COLUMNS = ("key", "user", "item", "role")


@st.composite
def members(draw: st.DrawFn, fields: dict[str, Any], needed: tuple[str, ...] = ()) -> str:
    """An object with some of these members, every twelfth time with a damaged one."""
    names = draw(st.lists(st.sampled_from(sorted(fields)), unique=True))
    pairs = [(json.dumps(name), draw(fields[name])) for name in dict.fromkeys((*names, *needed))]
    if pairs and draw(st.integers(0, 11)) == 7:
        pairs = draw(damaged(pairs))
    return draw(objects(pairs))


unknown = st.one_of(tame_strings, wild_scalars, wild_features)
tame_candidates = members({"item": tame_strings, "features": tame_features})
wild_candidates = members(
    {"item": st.one_of(tame_strings, wild_scalars), "features": wild_features, "score": unknown}
)
#: Most are good ones: else hardly a whole request is.
candidates = st.lists(st.one_of(*[tame_candidates] * 11, wild_candidates), max_size=5)
bodies = st.builds(
    lambda before, body, after: (before + body + after).replace("\t", "\n"),
    space,
    members(
        {
            "user": tame_strings,
            "features": tame_features,
            "candidates": candidates.map(lambda its: "[" + " , ".join(its) + "]"),
            "k": st.sampled_from([*["1", "2", "10000", "null"] * 4, "0", "10001", "1.0", '"1"']),
            "time": st.sampled_from(
                [*["0", "1700000000000", "-62104060800000", "null"] * 4, "1e3", "9" * 14]
            ),
            "explain": st.sampled_from([*["false"] * 9, "true", "null"]),
            "explore": st.sampled_from([*["null"] * 9, '{"policy":"upper"}']),
            "arm": st.sampled_from([*["null"] * 9, '"a"']),
            "request": st.sampled_from([*['"r1"', "null"] * 4, '""', "5"]),
            "more": st.one_of(tame_strings, unknown),
        },
        ("candidates",),
    ),
    space,
).map(lambda text: text.encode("utf-8", "surrogatepass"))


def validated(body: bytes) -> RankRequest | None:
    try:
        return RankRequest.model_validate_json(body)
    except ValidationError:
        return None


def pieces(request: Request, which: np.ndarray) -> bytes:
    """The request with these candidates only."""
    its = b",".join(map(request.candidate, which.tolist()))
    return b'{"user":%b,"features":%b,"candidates":[%b]}' % (request.user, request.features, its)


def entries(events: Examples | EventBlock, i: int) -> list[tuple[int, ...]]:
    """By field: within one, their order is the value's."""
    its = slice(events.entry_offsets[i], events.entry_offsets[i + 1])
    names = ("entry_field", "entry_kind", "entry_value")
    return sorted(zip(*(getattr(events, n)[its].tolist() for n in names), strict=True), key=lambda e: e[0])


def assert_same(body: bytes) -> Request | None:
    """Decode it once every name is known, and compare what was taken; what was."""
    decoder, meant = RequestDecoder(text_fields=TEXT_FIELDS), validated(body)
    if meant is not None:
        decoder.decode(example_lines(meant, TIME_MS))
    request = decoder.decode_request(body, MAX_CANDIDATES)
    if request is None:
        return None
    if meant is None:  # some that are left must say so
        assert validated(pieces(request, request.left)) is None
    else:
        assert (request.k, request.time_ms) == (meant.k, meant.time)
        assert len(request.spans) == len(meant.candidates)
        assert (meant.explain, meant.explore, meant.arm) == (False, None, None)
    taken = validated(pieces(request, request.taken))
    assert taken is not None
    assert meant is None or (taken.user, taken.features) == (meant.user, meant.features)
    items = request.items(request.taken)
    assert items == [json.dumps(c.item, ensure_ascii=False).encode() for c in taken.candidates]
    examples = request.at(TIME_MS)
    block, rejections = RequestDecoder.decode(decoder, example_lines(taken, TIME_MS))
    assert (len(rejections), len(block)) == (0, len(examples))
    assert np.array_equal(examples.time_ms, block.time_ms)
    for name in COLUMNS:
        assert np.array_equal(getattr(examples, name), getattr(block, name)), name
    for i in range(len(block)):
        assert entries(examples, i) == entries(block, i)
    return request


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies)
def test_same_on_requests(body: bytes) -> None:
    assert_same(body)


PLAIN = {
    "user": "ü1",
    "features": {"device": "phone", "tags": ["of all", "users"], "n": None, "x": 1.5},
    "candidates": [
        {"item": "i1", "features": {"title": "The Matrix", "price": 3, "new": True}},
        {"item": "i2", "features": {"device": None, "tags": "own", "x": "text"}},
        {"features": {"title": []}, "item": None, "score": 0.5},
        {},
    ],
    "k": 2,
    "time": TIME_MS,
    "explain": False,
    "explore": None,
    "arm": None,
    "request": "r",
    "note": "ignored",
}
WRITTEN = {
    "usual": json.dumps(PLAIN, ensure_ascii=False),
    "compact": json.dumps(PLAIN, ensure_ascii=False, separators=(",", ":")),
    "on lines": json.dumps(PLAIN, ensure_ascii=False, indent=2) + "\n",
    "sorted": json.dumps(PLAIN, ensure_ascii=False, sort_keys=True),
    "candidates first": json.dumps(dict(reversed(PLAIN.items())), ensure_ascii=False),
    "nothing shared": json.dumps({"candidates": PLAIN["candidates"]}),
    "nobody": json.dumps({"candidates": []}),
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN.keys())
def test_plain_requests_are_taken_whole(text: str) -> None:
    request = assert_same(text.encode())
    assert request is not None
    assert not len(request.left)


LEFT = [
    '{"item":"Z\\u00fcrich"}',
    '{"item":"a","item":"b"}',
    '{"features":{"x":1,"x":2}}',
    '{"features":{"x":1e300}}',
    '{"features":{"x":123456789012345678901}}',
    '{"features":{"title":"Léon"}}',
    '{"features":{"never seen":1}}',
    '{"features":{"a":{"b":"}]"}},"item":"\\"}"}',
    '{"score":[1,"]"]}',
]


@pytest.mark.parametrize("candidate", LEFT)
def test_what_is_not_plain_is_left_to_the_models(candidate: str) -> None:
    body = f'{{"candidates":[{{"item":"i1"}},{candidate},{{"features":{{"x":1}}}}]}}'.encode()
    decoder = RequestDecoder(text_fields=TEXT_FIELDS)
    decoder.decode(b'{"type":"example","id":"a","time":0,"label":0,"features":{"x":1,"title":"a","a":0}}\n')
    request = decoder.decode_request(body, MAX_CANDIDATES)
    assert request is not None
    assert (request.left.tolist(), request.candidate(1)) == ([1], candidate.encode())
    assert request.items(request.taken) == [b'"i1"', b"null"]
    assert_same(body)


REFUSED = [
    b"",
    b"[]",
    b"{}",
    b'{"candidates":[]',
    b'{"candidates":[]}}',
    b'{"candidates":[{}{}]}',
    b'{"candidates":[{},]}',
    b'{"candidates":[null]}',
    b'{"candidates":[{]}',
    b'{"candidates":[{"item":"a\\',
    b'{"candidates":[],"candidates":[]}',
    b'{"candidates":[],"user":"\\u0061"}',
    b'{"candidates":[],"features":{"new":1}}',
    b'{"candidates":[],"k":0}',
    b'{"candidates":[],"explain":true}',
    b'{"candidates":[],"explore":{"policy":"upper"}}',
    b'{"candidates":[],"arm":"challenger"}',
    b'{"candidates":[],"request":""}',
    b'{"candidates":[],"request":1}',
    b'{"user":"a\nb","candidates":[]}',
    b'\xef\xbb\xbf{"candidates":[]}',
]


@pytest.mark.parametrize("body", REFUSED)
def test_what_is_not_known_to_be_valid_is_not_taken(body: bytes) -> None:
    assert RequestDecoder().decode_request(body, MAX_CANDIDATES) is None


def test_limits_of_an_event_hold_for_shared_and_own_together(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [{"tags": ["b"] * n} for n in (MAX_ENTRIES - 1000, MAX_ENTRIES - 999)]
    whole = {"features": {"a": ["b"] * 1000}, "candidates": [{"features": its} for its in own]}
    body = json.dumps(whole, separators=(",", ":")).encode()
    decoder = RequestDecoder()
    decoder.decode(b'{"type":"example","id":"a","time":0,"label":0,"features":{"a":1,"tags":1}}\n')
    request = decoder.decode_request(body, MAX_CANDIDATES)
    assert request is not None
    assert request.left.tolist() == [1]
    assert decoder.decode_request(body.replace(b'"b"', b'"%b"' % (b"b" * 30)), 2).left.tolist() == [0, 1]  # type: ignore[union-attr]
    assert decoder.decode_request(body, 1) is None
    monkeypatch.setattr(module, "_MOST_REPEATS", 1500)
    body = b'{"features":{"a":%b},"candidates":[{},{},{}]}' % json.dumps(["b"] * 700).encode()
    assert decoder.decode_request(body, MAX_CANDIDATES).left.tolist() == [2]  # type: ignore[union-attr]


def test_memory_grows_with_the_body_and_is_used_again() -> None:
    decoder = RequestDecoder()
    small, large = (b'{"candidates":[%b]}' % b",".join([b'{"item":"a"}'] * n) for n in (3, MAX_CANDIDATES))
    padded = large + b" " * (1 << 22)
    sizes = []
    for body in (small, large, padded, large, small):
        request = decoder.decode_request(body, MAX_CANDIDATES)
        assert request is not None
        sizes.append(len(request.examples))
    assert sizes == [3, *[MAX_CANDIDATES] * 3, 3]
