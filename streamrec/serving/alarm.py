"""Alarms of the learner's guards, as the metrics of a commit carry them, in words."""

from typing import Any

from streamrec.serving.history import number

__all__ = ["alarm_lines"]

_WHAT = {"loss": "mean loss", "calibration": "mean prediction − mean label"}
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


def _line(alarm: dict[str, Any]) -> dict[str, Any]:
    found = number(alarm.get("example"))
    example = None if found is None else int(found)
    at = "" if example is None else f" at example {example:,}"
    what = _WHAT.get(str(alarm.get("of")), str(alarm.get("of"))[:_CHARS])
    where = "" if alarm.get("slice") is None else f" in slice {str(alarm['slice'])[:_CHARS]}"
    before, after = (number(alarm.get(name)) for name in ("before", "after"))
    course = "" if before is None or after is None else f" was {before:.4g} and is {after:.4g}"
    return {"text": f"drift{at}: {what}{where}{course}", "example": example}
