"""Saying so when clicks stop and come again (He et al. 2014: a dead click stream must not be learned)."""

import logging

__all__ = ["BreakerLog"]

_log = logging.getLogger("streamrec")


class BreakerLog:
    """Tells once of every change."""

    def __init__(self) -> None:
        self._silent = False

    def see(self, where: str, silent: bool) -> None:
        """`silent` as the joiner of this stream or partition has it now."""
        if silent and not self._silent:
            _log.warning(
                "%s: clicks have stopped while impressions go on: nothing becomes a negative until they are "
                "back ([join] breaker)",
                where,
            )
        elif self._silent and not silent:
            _log.warning("%s: clicks are coming again, joining goes on", where)
        self._silent = silent
