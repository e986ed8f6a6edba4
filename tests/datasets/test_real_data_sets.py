"""The published data themselves, where they are at hand (STREAMREC_DATA)."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from streamrec.datasets import BadRow, convert
from streamrec.events.codec import decode_line, encode

DATA = Path(os.environ.get("STREAMREC_DATA") or Path(__file__).parents[3] / "shared" / "data")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded data in {DATA}: set STREAMREC_DATA")


def converted(name: str, path: str) -> tuple[list[dict], list[BadRow]]:
    """All events of a data set after checking their form, order and ids, and the rows that were skipped."""
    bad: list[BadRow] = []
    lines = list(convert(name, DATA / path, bad.append))
    for line in lines[::101]:
        assert encode(decode_line(line)) + b"\n" == line
    events = [json.loads(line) for line in lines]
    times = [event["time"] for event in events]
    assert times == sorted(times)
    assert len({event["id"] for event in events}) == len(events)
    return events, bad


def test_movielens():
    events, bad = converted("movielens", "movielens-latest-small")
    assert not bad
    assert Counter(event["type"] for event in events) == {"rating": 100_836}
    assert len({event["user"] for event in events}) == 610
    assert len({event["item"] for event in events}) == 9_724
    assert all("title" in event["features"] for event in events)
    assert Counter("year" in event["features"] for event in events)[False] < 30


def test_mind():
    events, bad = converted("mind", "mind-small-5k")
    assert not bad
    counts = Counter(event["type"] for event in events)
    assert counts["impression"] == 189_359
    assert round(100 * counts["click"] / counts["impression"], 2) == 3.98
    shown = [event for event in events if event["type"] == "impression"]
    assert len({event["request"] for event in shown}) == 5_000
    assert round(100 * sum("title" in event["features"] for event in shown) / len(shown), 1) == 2.8


@pytest.mark.parametrize("policy", ["random", "bts"])
@pytest.mark.parametrize("campaign", ["men", "women"])
def test_open_bandit(policy, campaign):
    events, bad = converted("open-bandit", f"open-bandit-40k/{policy}/{campaign}")
    assert not bad
    counts = Counter(event["type"] for event in events)
    assert counts["impression"] == 10_000
    assert 30 <= counts["click"] <= 80
    assert all("item_feature_0" in event["features"] for event in events if event["type"] == "impression")


def test_taobao():
    events, bad = converted("taobao", "taobao-userbehavior-96k")
    assert [(row.line, row.reason) for row in bad] == [
        (96_169, "timestamp: expected seconds of 2014 to 2020, got '15'")
    ]
    counts = Counter(event["type"] for event in events)
    assert counts["click"] == 5_292 + 2_959 + 2_144  # cart, fav, buy
    views_clicked = sum(
        event["type"] == "click" and event["id"][1:] != event["impression"][1:] for event in events
    )
    assert counts["impression"] + views_clicked == 96_168
