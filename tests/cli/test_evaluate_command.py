"""`streamrec evaluate`: what it prints, and one clear line where there is nothing to measure."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from streamrec.cli.evaluate import command
from streamrec.errors import StreamrecError

CLICKLESS = '{"type":"example","id":"a","time":1,"user":"u","item":"i","label":0,"features":{}}\n'
PREFIXES = ("", "unseen_", "progressive_", "progressive_unseen_")
KEYS = [f"{prefix}top_{k}" for prefix in PREFIXES for k in (1, 5, 10, 50, 100)]


def lines(n, users=20, seed=7):
    """Users of two groups with ten items each; every fifth interaction is a click."""
    rng = np.random.default_rng(seed)
    for k in range(n):
        user, i = int(rng.integers(users)), int(rng.integers(10))
        event = {"id": f"e{k}", "time": 1000 * k, "user": f"u{user}", "item": f"i{user % 2}.{i}"}
        if k % 5:
            yield json.dumps({**event, "type": "rating", "rating": 1, "features": {}})
        else:
            yield json.dumps({**event, "type": "impression", "features": {}})
            yield json.dumps({"type": "click", "id": f"c{k}", "time": 1000 * k + 1, "impression": f"e{k}"})


def evaluated(tmp_path, text, *options, stdin=False):
    path = tmp_path / "events.jsonl"
    path.write_text(text)
    args = ["-" if stdin else str(path), "--task", "retrieval", "--json", *options]
    return CliRunner().invoke(command, args, input=text if stdin else None)


def test_what_is_held_out_is_found_again(tmp_path):
    result = evaluated(tmp_path, "\n".join(lines(600)) + "\n")
    told = json.loads(result.stdout)
    assert [key for key in told if "top_" in key] == KEYS
    assert told["learned"] + told["held_out"] == 600
    assert 0.1 < told["held_out"] / 600 < 0.3
    assert told["top_10"] > 0.9
    assert told["top_100"] == 1.0
    other = json.loads(
        evaluated(tmp_path, "\n".join(lines(600)) + "\n", "--seed", "1", "--holdout", "random:.5").stdout
    )
    assert 0.4 < other["held_out"] / 600 < 0.6


def test_one_user_and_several_epochs(tmp_path):
    told = json.loads(evaluated(tmp_path, "\n".join(lines(60, users=1)) + "\n", "--epochs", "2").stdout)
    assert told["epochs"] == 2
    assert told["top_50"] == 1.0
    assert told["unseen_top_100"] <= told["top_100"]


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("", (), "is empty"),
        (CLICKLESS, (), "got 0 and 0"),
        ("{\n", (), "1 rejected"),
        ("", ("--holdout", "random:1.5"), "between 0 and 1"),
        ("", ("--holdout", "last:0.2"), "expected random:"),
        (CLICKLESS, ("--model", "ftrl"), "finds none"),
    ],
)
def test_one_line_where_nothing_can_be_measured(tmp_path, text, options, expected):
    error = evaluated(tmp_path, text, *options).exception
    assert isinstance(error, StreamrecError)
    assert expected in str(error)
    assert len(str(error).splitlines()) == 1
