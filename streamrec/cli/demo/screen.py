"""What the demo shows: a live panel on a terminal, a line now and then elsewhere, a summary at the end."""

import math
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streamrec.cli.demo.summary import Summary
from streamrec.cli.demo.tally import Rates
from streamrec.cli.demo.visitors import Visitors

__all__ = ["Screen", "print_summary"]

#: Rates on the screen are those of the last seconds.
WINDOW_S = 3.0
#: A terminal is drawn anew, and a line printed, this often.
DRAW_S, LINE_S = 0.25, 5.0
_SPARKS = "▁▂▃▄▅▆▇█"


class Screen:
    """Draws the state of a running demo; a context manager."""

    def __init__(self, console: Console, url: str, drift_s: float, end_s: float) -> None:
        self._console, self._url, self._drift_s, self._end_s = console, url, drift_s, end_s
        self._live = (
            Live(console=console, auto_refresh=False)
            if console.is_terminal and not console.is_dumb_terminal
            else None
        )
        self._next_s = 0.0
        self._events = (0.0, 0)  # (time, number) at the last drawing
        self._shares: list[float] = []

    def __enter__(self) -> "Screen":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def draw(self, visitors: Visitors) -> None:
        """Show the state if it is time to."""
        now_s = visitors.elapsed_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + (DRAW_S if self._live else LINE_S)
        rates = visitors.tally.rates(now_s - WINDOW_S, now_s)
        events_per_s = (visitors.n_events - self._events[1]) / max(now_s - self._events[0], 1e-9)
        self._events = (now_s, visitors.n_events)
        if self._live is None:
            if now_s >= LINE_S:
                self._console.print(
                    _line(now_s, rates, events_per_s, visitors), highlight=False, soft_wrap=True
                )
            return
        self._live.update(self._panel(now_s, rates, events_per_s, visitors), refresh=True)

    def _panel(self, now_s: float, rates: Rates, events_per_s: float, visitors: Visitors) -> Panel:
        table = Table.grid(padding=(0, 3))
        delay_ms = visitors.delays.quantile_ms(0.5, last=200)
        for row in (
            (
                "clicks per item shown",
                _percent(rates.clicked),
                "normalised entropy",
                _decimal(visitors.model.ne, 3),
            ),
            ("  random pages", _percent(rates.random), "events/s", _decimal(events_per_s, 0)),
            ("  best possible", _percent(rates.best), "click → changed score", f"{_decimal(delay_ms, 0)} ms"),
            ("share of the gain", _percent(rates.share), "model", f"commit {visitors.model.seq}"),
        ):
            table.add_row(*row)
        self._shares.append(rates.share)
        phase = "before the drift" if now_s < self._drift_s else "tastes have changed: learning anew"
        parts = (
            Text(f"{phase}   {self._url}/docs"),
            table,
            Text("share of the gain  " + _sparkline(self._shares, 60)),
            ProgressBar(total=self._end_s, completed=min(now_s, self._end_s)),
        )
        return Panel(Group(*parts), title="streamrec demo")


def print_summary(console: Console, summary: Summary, failed: list[str]) -> None:
    """The end of the demo, for a person."""
    table = Table(title="Clicks per item shown", title_justify="left")
    for column in ("", "random", "model", "best possible", "share of the gain"):
        table.add_column(column, justify="right" if column else "left")
    for name, rates in (
        ("before the drift", summary.before),
        ("just after it", summary.drifted),
        ("at the end", summary.after),
    ):
        table.add_row(
            name,
            _percent(rates.random),
            _percent(rates.expected),
            _percent(rates.best),
            _percent(rates.share),
        )
    console.print(table)
    console.print(
        f"{summary.events:,} events ({summary.clicks:,} clicks) in {summary.seconds:.0f} s; "
        f"commit {summary.seq}, {summary.weights:,} weights, normalised entropy {_decimal(summary.ne, 3)}.\n"
        "From a click to the first score that knows it: "
        f"{_decimal(summary.delay_p50_ms, 0)} ms (median), {_decimal(summary.delay_p95_ms, 0)} ms (95 %).",
        highlight=False,
        soft_wrap=True,
    )
    for line in failed:
        console.print(f"Not as promised: {line}", highlight=False, soft_wrap=True)
    if not failed:
        text = "The model learned from clicks while it was served, and learned anew after the drift."
        console.print(text, highlight=False, soft_wrap=True)


def _line(now_s: float, rates: Rates, events_per_s: float, visitors: Visitors) -> str:
    model = visitors.model
    return (
        f"{now_s:4.0f} s  click rate {_percent(rates.clicked)} (random {_percent(rates.random)}, "
        f"best {_percent(rates.best)}), share of the gain {_percent(rates.share)}, "
        f"NE {_decimal(model.ne, 3)}, {_decimal(events_per_s, 0)} events/s, click to score "
        f"{_decimal(visitors.delays.quantile_ms(0.5, last=200), 0)} ms, commit {model.seq}"
    )


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1%}"


def _decimal(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def _sparkline(shares: list[float], width: int) -> str:
    """The course of the share, one character per bin of the whole time so far."""
    known = [0.0 if math.isnan(share) else min(max(share, 0.0), 1.0) for share in shares]
    step = max(1, -(-len(known) // width))
    bins = [known[n : n + step] for n in range(0, len(known), step)]
    return "".join(_SPARKS[min(int(sum(part) / len(part) * 8), 7)] for part in bins)
