"""The log for machines: one JSON object a line, whatever is logged, and the same of workers that end."""

import json
import logging
import sys
from datetime import datetime

import pytest

from streamrec.cli.main import main
from streamrec.errors import StoreUnavailable, UsageError
from streamrec.log import FORMAT, log_to_stderr
from workers.environment import run


def new_root(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """One that nobody writes for yet: pytest has its own handlers at the other."""
    root = logging.RootLogger(logging.WARNING)
    monkeypatch.setattr(logging, "root", root)
    return root


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_is_an_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(FORMAT, "json")
    root = new_root(monkeypatch)
    log_to_stderr()
    about = {"model": "m", "seq": 7, "ne": float("nan"), "at": {1}}
    root.warning("model %(model)r: at\n%(seq)d", about, extra=about)
    root.info("not told")
    try:
        raise ValueError("why")
    except ValueError:
        root.exception("failed")
    first, second = written(capsys)
    assert datetime.fromisoformat(str(first.pop("time"))).utcoffset() is not None
    said = {"level": "WARNING", "logger": "root", "message": "model 'm': at\n7"}
    assert first == {"model": "m", "seq": 7, "ne": None, "at": "{1}", **said}
    assert str(second["trace"]).endswith("ValueError: why")


def test_for_people_it_is_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(FORMAT, raising=False)
    root = new_root(monkeypatch)
    log_to_stderr()
    log_to_stderr()  # it writes once
    root.warning("that")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" WARNING that")


@pytest.mark.parametrize(("asked", "is_json"), [("json", True), ("text", False), ("xml", False)])
def test_why_a_worker_ends_is_told_in_the_same_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: str, is_json: bool
) -> None:
    def fail() -> None:
        raise StoreUnavailable("redis://x does not answer")

    monkeypatch.setenv(FORMAT, asked)
    with pytest.raises(SystemExit):
        run(fail)
    told = capsys.readouterr().err.strip()
    message = "StoreUnavailable: redis://x does not answer"
    assert (json.loads(told)["message"] if is_json else told) == message


@pytest.mark.parametrize(("asked", "is_json"), [("json", True), ("text", False)])
def test_why_a_command_ends_is_told_in_the_same_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: str, is_json: bool
) -> None:
    monkeypatch.setenv(FORMAT, asked)
    monkeypatch.setattr(sys, "argv", ["streamrec", "learnt"])
    new_root(monkeypatch)
    with pytest.raises(SystemExit, match="2"):
        main()
    told = capsys.readouterr().err.strip()
    message = "streamrec: no command 'learnt'; did you mean 'learn'?"
    assert (json.loads(told)["message"] if is_json else told) == message


def test_another_format_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORMAT, "xml")
    with pytest.raises(UsageError, match="STREAMREC_LOG_FORMAT: expected text or json, got 'xml'"):
        log_to_stderr()
