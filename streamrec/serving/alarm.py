"""What the learner's guards found, as a commit carries it, in words."""

from typing import Any

from streamrec.serving.generation import json_object
from streamrec.serving.history import number

__all__ = ["CUT_OFF", "alarm_lines", "stopped"]

_WHAT = {"loss": "mean loss", "calibration": "mean prediction − mean label"}
#: Blob of a commit that guards made their last one.
CUT_OFF = "cut_off"
#: Alarms that are told, and characters of a slice's name.
_ALARMS, _CHARS = 10, 60


def alarm_lines(drift: Any) -> list[dict[str, Any]]:
    """As `api_live.AlarmLine`, oldest first; what is of another form is left out.

    >>> alarm = {"of": "loss", "slice": "desk", "example": 1200, "before": 0.25, "after": 0.5}
    >>> alarm_lines({"last": [alarm]})
    [{'text': 'drift at example 1,200: mean loss in slice desk was 0.25 and is 0.5', 'example': 1200}]

    Args:
        drift: the member `drift` of the metrics; in its `last`, alarms have `of`, `slice`, `example`,
            `before` and `after`.

    """
    last = drift.get("last") if isinstance(drift, dict) else None
    alarms = [each for each in last if isinstance(each, dict)] if isinstance(last, list) else []
    return [_line(alarm) for alarm in alarms[-_ALARMS:]]


def stopped(blob: bytes | None) -> str | None:
    """Why guards stopped learning, as the learner's last commit says; None while it goes on.

    >>> stopped(b'{"reason": "after example 9: the prediction is nan", "ahead": 2}')
    'after example 9: the prediction is nan'
    >>> stopped(b"")  # released
    """
    reason = json_object(blob or b"{}").get("reason")
    return None if reason is None else str(reason)


def _line(alarm: dict[str, Any]) -> dict[str, Any]:
    found = number(alarm.get("example"))
    example = None if found is None else int(found)
    at = "" if example is None else f" at example {example:,}"
    what = _WHAT.get(str(alarm.get("of")), str(alarm.get("of"))[:_CHARS])
    where = "" if alarm.get("slice") is None else f" in slice {str(alarm['slice'])[:_CHARS]}"
    before, after = (number(alarm.get(name)) for name in ("before", "after"))
    course = "" if before is None or after is None else f" was {before:.4g} and is {after:.4g}"
    return {"text": f"drift{at}: {what}{where}{course}", "example": example}
