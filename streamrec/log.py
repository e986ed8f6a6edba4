"""What a process tells on stderr: lines for people, or one JSON object a line for a store of logs."""

import json
import logging
import math
import os
import sys
from datetime import UTC, datetime
from typing import Any

from streamrec.errors import UsageError

__all__ = ["FORMAT", "JsonLines", "log_to_stderr", "tell"]

#: The environment variable that chooses: `text` (default) or `json`.
FORMAT = "STREAMREC_LOG_FORMAT"
_TEXT = "%(asctime)s %(levelname)s %(message)s"
#: What every record has; whatever else one has was given to it as `extra`.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One object a record: `time` (ISO 8601, UTC, ms), `level`, `logger`, `message`, its `extra`, `trace`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told = {name: _finite(value) for name, value in vars(record).items() if name not in _USUAL}
        told |= {"time": at, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


def _finite(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def log_to_stderr() -> None:
    """Write warnings of all, in the format that the environment asks for, unless the process logs already.

    Raises:
        UsageError: it asks for another format.

    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if _is_json() else logging.Formatter(_TEXT))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def tell(line: str, level: int = logging.INFO) -> None:
    """Write a line that belongs to no log: as it is, or where JSON is asked for as a record of its own."""
    try:
        is_json = _is_json()
    except UsageError:  # which may be what is told
        is_json = False
    if is_json:
        record = logging.makeLogRecord(
            {"name": "streamrec", "levelno": level, "levelname": logging.getLevelName(level), "msg": line}
        )
        line = JsonLines().format(record)
    print(line, file=sys.stderr, flush=True)


def _is_json() -> bool:
    asked = os.environ.get(FORMAT) or "text"
    if asked not in ("text", "json"):
        raise UsageError(f"environment variable {FORMAT}: expected text or json, got {asked!r}")
    return asked == "json"
