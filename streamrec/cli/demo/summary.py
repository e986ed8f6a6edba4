"""What the demo found, and whether it kept its promises."""

from typing import Any, NamedTuple

from streamrec.cli.demo.tally import Rates
from streamrec.cli.demo.visitors import Visitors

__all__ = ["Summary", "promises", "summarise"]

#: The model must gain this share of what can be gained over random pages before the drift, and at the end:
#: far from the 90 % and 85 % that it gains in 50 s, so that a busy machine does not make the demo fail.
BEFORE, AFTER = 0.5, 0.4


class Summary(NamedTuple):
    """Click rates by stretch of the demo, the loop's delay, and the model at its end."""

    seconds: float
    events: int
    clicks: int
    before: Rates  # the last stretch before the drift
    drifted: Rates  # the first seconds after it
    after: Rates  # the last stretch
    delay_p50_ms: float
    delay_p95_ms: float
    n_delays: int
    ne: float
    seq: int
    weights: int

    def as_json(self) -> dict[str, Any]:
        """One object for `--json`; numbers that do not exist are null."""
        flat: dict[str, Any] = {}
        for name, value in self._asdict().items():
            if isinstance(value, Rates):
                rates = {"click_rate": value.clicked, **value._asdict(), "share_of_best": value.share}
                del rates["clicked"]
                flat[name] = {key: _number(part) for key, part in rates.items()}
            else:
                flat[name] = _number(value)
        return flat | {"events_per_s": _number(self.events / self.seconds), "failed": promises(self)}


def summarise(visitors: Visitors, drift_s: float, end_s: float) -> Summary:
    """The summary of a demo whose tastes changed at `drift_s`."""
    tally, delays, model = visitors.tally, visitors.delays, visitors.model
    stretch_s = drift_s / 3
    return Summary(
        seconds=end_s,
        events=visitors.n_events,
        clicks=visitors.n_clicks,
        before=tally.rates(drift_s - stretch_s, drift_s),
        drifted=tally.rates(drift_s, drift_s + stretch_s / 5),
        after=tally.rates(end_s - stretch_s, end_s),
        delay_p50_ms=delays.quantile_ms(0.5),
        delay_p95_ms=delays.quantile_ms(0.95),
        n_delays=len(delays.seconds),
        ne=model.ne,
        seq=model.seq,
        weights=model.weights,
    )


def promises(summary: Summary) -> list[str]:
    """Those that were not kept, one line each."""
    failed = []
    for when, rates, share in (
        ("before the drift", summary.before, BEFORE),
        ("after the drift", summary.after, AFTER),
    ):
        gain, clicked, random = f"{rates.share:.0%}", f"{rates.clicked:.1%}", f"{rates.random:.1%}"
        if not rates.share >= share:
            failed.append(f"{when}: expected at least {share:.0%} of the gain over random pages, got {gain}")
        if not rates.clicked > rates.random:
            failed.append(f"{when}: expected more clicks than random pages have ({random}), got {clicked}")
    if not summary.n_delays:
        failed.append("no click ever changed a score")
    return failed


def _number(value: float) -> float | None:
    return None if value != value else round(value, 6)
