"""Delayed feedback on a recorded stream, as it is and a hundred times as fast: what was predicted on arrival,
whatever was learned when, beside waiting for the window to be over.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import click

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.learned import metrics

__all__ = ["figures"]

_FOLDER = "mind-small-5k"
#: MIND has 190,000 impressions in six days: compressed, in less than nine windows of ten minutes.
_FACTORS = (1, 100)
_RATE = 0.1  # of sampled negatives: an eighth of the examples is learned
#: What is out of the box may be this much worse than waiting where waiting costs nothing, and must be better
#: by half where it does. Predictions are calibrated within a tenth, from the first impression on.
_MOST = {1: 1.01, 100: 0.5}
_CALIBRATED = (0.9, 1.1)


class _Policy(NamedTuple):
    name: str
    join: dict[str, Any]
    feedback: dict[str, Any]


_WAIT = _Policy("wait", {"feedback": "wait", "arrivals": True}, {})
_DEFAULT = _Policy("early, fn_weighted", {}, {})
_SAMPLED = {"negative_rate": _RATE, "arrivals": True}
_POLICIES = (
    _Policy("early, plain", {}, {"policy": "plain"}),
    _DEFAULT,
    _Policy("early, fn_calibrated", {}, {"policy": "fn_calibrated"}),
    _Policy(f"sampled {_RATE:g}, by weight", _SAMPLED, {}),
    _Policy(f"sampled {_RATE:g}, corrected", _SAMPLED, {"negative_rate": _RATE}),
)


def figures() -> list[Figure]:
    """Needs STREAMREC_DATA."""
    folder = Path(os.environ.get("STREAMREC_DATA") or "../shared/data") / _FOLDER
    if not folder.is_dir():
        click.echo(f"  not measured, no {_FOLDER} in STREAMREC_DATA ({folder.parent})", err=True)
        return []
    return [figure for factor in _FACTORS for figure in _compared(folder, factor)]


def _compared(folder: Path, factor: int) -> Iterator[Figure]:
    stream = "mind" if factor == 1 else f"mind, {factor} times as fast"
    with TemporaryDirectory(prefix="streamrec-bench-") as place:
        path = Path(place, "events.jsonl")
        _write(path, folder, factor)
        waiting = _measured(path, _WAIT)
        for policy in _POLICIES:
            result = _measured(path, policy)
            most = _MOST[factor] if policy is _DEFAULT else None
            name = f"{stream}: log loss, {policy.name}"
            yield Figure(name, result["log_loss"], "nats", waiting["log_loss"], "waiting", (None, most))
            goal = (None, None) if policy.feedback.get("policy") == "plain" else _CALIBRATED
            name = f"{stream}: calibration, {policy.name}"
            yield Figure(name, result["calibration"], "", 1.0, "of what came", goal)


def _write(path: Path, folder: Path, factor: int) -> None:
    """The events with times this much closer to the first one's."""
    from streamrec.datasets.registry import convert
    from streamrec.transport.writer import write_stream

    first_ms: int | None = None
    with write_stream(path) as stream:
        for line in convert("mind", folder):
            event = json.loads(line)
            first_ms = event["time"] if first_ms is None else first_ms
            event["time"] = first_ms + (event["time"] - first_ms) // factor
            stream.write(json.dumps(event, separators=(",", ":")).encode() + b"\n")


def _measured(path: Path, policy: _Policy) -> dict[str, Any]:
    """Metrics of the whole stream."""
    from streamrec.join.settings import JoinSettings
    from streamrec.learner.start import Plan
    from streamrec.models.feedback import FeedbackSettings
    from streamrec.models.settings import ModelSettings

    model = ModelSettings(feedback=FeedbackSettings(**policy.feedback))
    return metrics(path, Plan(fresh=True, join=JoinSettings(**policy.join), model=model))
