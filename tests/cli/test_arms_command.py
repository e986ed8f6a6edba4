"""`streamrec models arms` and `promote`: operators change who answers, and do not undo one another."""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from streamrec.cli.models import command
from streamrec.cli.serve import command as serve
from streamrec.errors import Outdated, UsageError
from streamrec.store.base import Commit
from streamrec.store.memory import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(uuid.uuid4().hex)
    for model in ("default", "challenger", "idea"):
        store.acquire(model).commit(Commit(1, {}, {}, 0))
    return store


def call(*arguments: str) -> str:
    return CliRunner().invoke(command, arguments, catch_exceptions=False).output


def call_json(*arguments: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(call(*arguments, "--json"))
    return result


def test_shares_are_set_changed_promoted_and_removed(store: MemoryStore) -> None:
    at = ("--store", store.url)
    assert call_json("arms", "show", *at)["version"] == 0
    told = call_json("arms", "set", "challenger=20", "idea=shadow", *at)
    assert (told["champion"], told["version"]) == ("default", 1)
    assert told["shares"] == {"default": 80, "challenger": 20, "idea": 0}
    assert call_json("arms", "set", "idea=5", *at)["shares"] == {"default": 75, "challenger": 20, "idea": 5}
    assert call_json("arms", "set", "--salt", "round 2", *at)["salt"] == "round 2"
    told = call_json("promote", "challenger", *at)
    assert (told["champion"], told["shares"]) == ("challenger", {"challenger": 95, "idea": 5, "default": 0})
    assert call_json("arms", "remove", "idea", *at)["shares"] == {"challenger": 100, "default": 0}
    assert call_json("arms", "show", "--name", "other", *at)["version"] == 0
    shown = call("arms", "show", *at)
    assert "default  version 5, changed 20" in shown
    assert "  challenger  100.00 %  champion\n  default       0.00 %  shadow\n" in shown


def test_two_operators_do_not_undo_each_other(store: MemoryStore) -> None:
    at = ("--store", store.url)
    seen = call_json("arms", "set", "challenger=20", *at)["version"]
    call("arms", "set", "challenger=30", *at)
    with pytest.raises(Outdated, match="expected version 1, got 2"):
        call("arms", "set", "challenger=40", "--if-version", str(seen), *at)
    assert call_json("arms", "show", *at)["shares"]["challenger"] == 30


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ("arms", "set", "chalenger=5"),
            "no such model in this store; models there: challenger, default, idea",
        ),
        (("arms", "set"), "expected MODEL=SHARE"),
        (("arms", "set", "challenger"), "expected MODEL=SHARE"),
        (("arms", "set", "challenger=90", "idea=11"), "expected 100 at most together, got 101"),
        (("promote", "idea"), "'idea': is no arm; challengers of 'default': none"),
        (("arms", "remove", "idea"), "'idea': is no arm"),
    ],
)
def test_mistakes_change_nothing(store: MemoryStore, arguments: tuple[str, ...], error: str) -> None:
    with pytest.raises(UsageError, match=error):
        call(*arguments, "--store", store.url)
    assert call_json("arms", "show", "--store", store.url)["version"] == 0


@pytest.mark.parametrize(
    ("arm", "error"),
    [("a", "arm 'a': expected MODEL=SHARE"), ("default=5", "is the champion"), ("a=101", "got 101")],
)
def test_a_service_is_not_started_with_arms_that_cannot_be(arm: str, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        CliRunner().invoke(serve, ["--store", "nowhere:", "--arm", arm], catch_exceptions=False)


@pytest.fixture
def stream(tmp_path: Path) -> str:
    """Arm b is clicked twice as often; user by user one impression a minute."""
    rng, lines = np.random.default_rng(0), []
    for n in range(6000):
        user, time = n % 600, 1_700_000_000_000 + 1000 * n
        arm = "ab"[user % 2]
        shown = {"type": "impression", "id": f"i{n}", "time": time, "user": f"u{user}", "item": "x"}
        lines.append(shown | {"arm": arm, "features": {}})
        if rng.random() < {"a": 0.1, "b": 0.2}[arm]:
            lines.append({"type": "click", "id": f"c{n}", "time": time + 1, "impression": f"i{n}"})
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_the_report_says_which_arm_is_better(stream: str, store: MemoryStore) -> None:
    report = call_json("arms", "report", stream, "--against", "a")
    assert (report["arms"]["a"]["users"], report["arms"]["b"]["impressions"]) == (300, 3000)
    found = report["differences"]["b"]
    assert found["low"] < 0.1 < found["high"]
    assert found["decided"]
    text = call("arms", "report", stream, "--against", "a")
    assert "b is better: 100.0 % sure; decided" in text
    assert "95 % interval at every look" in text
    assert "together" not in text
    early = call_json("arms", "report", stream, "--since", "2023-11-14 23:53:00")
    (told,) = early["differences"].values()
    assert "expected 100 users and 20 clicks at least, got 10 and" in told["too_early"]


def test_a_report_of_many_arms_is_sure_of_all_together(stream: str, store: MemoryStore) -> None:
    alone = call_json("arms", "report", stream, "--against", "b")["differences"]["a"]
    more = [line for line in Path(stream).read_text().splitlines() if '"arm": "a"' in line]
    with Path(stream).open("a") as file:
        for arm in ("c", "d"):  # as many users of their own, who see what those of a see and never click
            for line in more:
                shown = json.loads(line)
                shown |= {"arm": arm, "user": f"{arm}{shown['user']}", "id": f"{arm}{shown['id']}"}
                file.write(json.dumps(shown) + "\n")
    report = call_json("arms", "report", stream, "--against", "b")
    among = report["differences"]["a"]
    assert report["comparisons"] == 3
    assert among["difference"] == alone["difference"]
    assert among["low"] < alone["low"] < alone["high"] < among["high"]
    text = call("arms", "report", stream, "--against", "b")
    assert text.count("98.33 % interval at every look") == 1  # the others are too early to tell
    assert "3 arms are compared with b: each interval is of 98.33 %, so that all of them together" in text


def test_a_report_needs_two_arms(stream: str, store: MemoryStore) -> None:
    with pytest.raises(
        UsageError, match=r"expected 'c' and another in the stream's impressions, got a \(300"
    ):
        call("arms", "report", stream, "--against", "c")
    call("arms", "set", "challenger=20", "--store", store.url)  # just now: nothing was shown since
    with pytest.raises(
        UsageError, match="expected 'default' and another in the stream's impressions, got none"
    ):
        call("arms", "report", stream, "--store", store.url)
    assert "'soon' is not a valid float range" in call("arms", "report", stream, "--window", "soon")
