"""Impressions' lines as example lines of every role, and back through the decoder."""

import json

import pytest

from streamrec.events.codec import decode_line
from streamrec.events.feedback import ARRIVAL, CONFIRMED, CORRECTION, EARLY, FEEDBACK, FINAL
from streamrec.events.model import Example
from streamrec.join.lines import Outcome, example_line

USUAL = (
    '{"type":"impression","id":"i7","time":1,"user":"u","item":"m","features":{"a":"x","b":[{}]}}'.replace(
        "[{}]", '["y","z"]'
    )
)
LINES = [
    USUAL,
    USUAL + " ",
    USUAL.replace('"features":', '"request":"r","position":2,"propensity":0.5,"features":'),
    USUAL.replace('"time"', '"label":9,"weight":8,"feedback":"early","impression":"else","time"'),
    USUAL.replace('"a"', '"label"'),
    USUAL.replace('"i7"', '"a\\"b"'),
    USUAL.replace('"u"', '"\\",\\"features\\":{"'),
    USUAL.replace('"time"', '"extra":{"features":{}},"time"'),
    '{"type":"impression","id":"i7","time":1,"features":{"a":"x"},"user":"u","item":"m"}',
    '{"id":"i7","type":"impression","time":1,"user":"ü","item":"m","features":{}}',
    "\ufeff" + USUAL,
]
OUTCOMES = [
    Outcome(0.0),
    Outcome(1.0, 0.25),
    Outcome(0.0, 10.0, EARLY),
    Outcome(1.0, 1.0, CORRECTION),
    Outcome(2.5, 1.0, CORRECTION),
    Outcome(0.0, 1.0, CONFIRMED),
    Outcome(0.0, 1.0, ARRIVAL),
]


def read(line: bytes) -> Example:
    event = decode_line(line)
    assert isinstance(event, Example), event
    return event


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_an_impression_becomes_the_example_that_joining_made_of_it(line: str, outcome: Outcome) -> None:
    event, impression = read(example_line(line.encode(), outcome)), json.loads(line.removeprefix("\ufeff"))
    label, weight, role = outcome
    assert (event.label, event.weight, event.feedback) == (label, weight, FEEDBACK[role])
    suffix = {CORRECTION: "#click", CONFIRMED: "#confirmed", ARRIVAL: "#arrival"}.get(role, "")
    assert event.id == impression["id"] + suffix
    assert event.impression == (impression["id"] if suffix else None)
    assert (event.time, event.user, event.item) == (1, impression["user"], impression["item"])
    if role != CONFIRMED or event.features is not None:
        assert event.features == impression["features"]


def test_what_only_confirms_is_short() -> None:
    assert b"features" not in example_line(LINES[0].encode(), Outcome(0.0, 1.0, CONFIRMED))
    assert b"features" not in example_line(LINES[9].encode(), Outcome(0.0, 1.0, CONFIRMED))


def test_other_events_stay_as_they_are() -> None:
    line = b'{"type":"example","id":"e","time":1,"label":1,"feedback":"correction","impression":"i"}'
    assert example_line(line, Outcome(1.0, 1.0, CORRECTION)) == line
    rating = b'{"type":"rating","id":"e","time":1,"user":"u","item":"m","rating":5,"features":{}}'
    assert example_line(rating, Outcome(1.0, 1.0, FINAL)) == rating
