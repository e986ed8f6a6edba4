"""Settings of the workers: `STREAMREC_*` environment variables, and how a worker ends."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from streamrec.errors import StreamrecError, UsageError
from streamrec.log import tell

__all__ = ["integer", "path", "run", "text"]


def text(name: str, default: str | None = None) -> str:
    """The value of `STREAMREC_<name>`.

    Raises:
        UsageError: it is not set, and there is no default.

    """
    value = os.environ.get(f"STREAMREC_{name}") or default
    if value is None:
        raise UsageError(f"environment variable STREAMREC_{name} is not set; this worker needs it")
    return value


def integer(name: str, default: int) -> int:
    """The whole number in `STREAMREC_<name>`.

    Raises:
        UsageError: it is no whole number.

    """
    value = text(name, str(default))
    try:
        return int(value)
    except ValueError:
        raise UsageError(
            f"environment variable STREAMREC_{name}: expected a whole number, got {value!r}"
        ) from None


def path(name: str) -> Path | None:
    """The file in `STREAMREC_<name>`, None where it is not set."""
    value = os.environ.get(f"STREAMREC_{name}")
    return Path(value) if value else None


def run(main: Callable[[], None]) -> None:
    """Run a worker and leave the process: 0 on success, else one line on stderr and the error's exit code.

    The line begins with the error's name: `deploy/runbook.md` has a section for each. STREAMREC_LOG_FORMAT:
    `text`, or `json` for one object a line.
    """
    try:
        main()
    except StreamrecError as error:
        tell(f"{type(error).__name__}: {error}", logging.CRITICAL)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
