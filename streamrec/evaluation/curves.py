"""Learning curves: the metrics over the last examples, recorded as the stream goes by, drawn on request."""

import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from streamrec.errors import StoreMismatch, UsageError
from streamrec.evaluation.blocks import Outcomes
from streamrec.evaluation.metrics import ProgressiveMetrics

__all__ = ["CURVES", "Curves", "check_plot", "plot"]

#: What is recorded at each point, after the number of examples.
CURVES = ("log_loss", "ne", "auc", "calibration", "rmse")

_FORMAT = struct.Struct("<4sIQ")  # magic, points, interval
_MAGIC = b"SRC1"
#: When there are so many, every second one is dropped and the interval doubled: at most 12 KB.
_MOST_POINTS = 256
_FIRST_INTERVAL = 100
_NO_MATPLOTLIB = "plots need matplotlib: pip install 'streamrec[plot]'"


class Curves:
    """Points at every `interval` examples, a number that doubles as the stream grows.

    Where a point lies depends on the number of examples only, so batches may be cut anywhere. It tells what
    was known there: a click that came later is in later points.
    """

    def __init__(self) -> None:
        self.interval = _FIRST_INTERVAL
        self._points: list[tuple[float, ...]] = []

    def update(self, metrics: ProgressiveMetrics, outcomes: Outcomes) -> None:
        """`metrics.update`, and points where they are due: behind the example that is the interval's last."""
        at, n = 0, metrics.n + metrics.n_bad
        numbers = n + np.cumsum(outcomes.counts, dtype=np.int64)
        while at < len(numbers):
            due = n + self.interval - n % self.interval
            end = int(np.searchsorted(numbers, due)) + 1  # of those with this number only the first counts
            metrics.update(*(column[at:end] for column in outcomes))
            at, n = min(end, len(numbers)), metrics.n + metrics.n_bad
            if n == due:
                self._record(n, metrics.recent())

    def points(self) -> np.ndarray:
        """float64 (points, 1 + len(CURVES)): number of examples, then CURVES; NaN where not defined."""
        return np.array(self._points, np.float64).reshape(-1, 1 + len(CURVES))

    def to_bytes(self) -> bytes:
        """The whole state."""
        return _FORMAT.pack(_MAGIC, len(self._points), self.interval) + self.points().astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Curves":
        """What `to_bytes` was called on.

        Raises:
            StoreMismatch: these are not such bytes.

        """
        curves, width = cls(), 1 + len(CURVES)
        magic, n, interval = _FORMAT.unpack_from(data.ljust(_FORMAT.size))
        if magic != _MAGIC or len(data) != _FORMAT.size + 8 * width * n:
            raise StoreMismatch(f"stored curves cannot be read: {len(data)} bytes; start over with --fresh")
        table = np.frombuffer(data, "<f8", offset=_FORMAT.size).reshape(n, width)
        curves._points = [tuple(row) for row in table.tolist()]
        curves.interval = interval
        return curves

    def _record(self, n: int, recent: dict[str, float | None]) -> None:
        values = (recent[name] for name in CURVES)
        self._points.append((float(n), *(value if value is not None else float("nan") for value in values)))
        if len(self._points) == _MOST_POINTS:
            self.interval *= 2
            self._points = self._points[1::2]


def check_plot(path: Path) -> None:
    """Whether `plot` could write there, to be known before hours of learning.

    Raises:
        UsageError: another ending than .png or .html, no such folder, or matplotlib is not installed.

    """
    if path.suffix.lower() not in (".png", ".html"):
        raise UsageError(f"plot {path}: expected a name that ends in .png or .html")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"plot {path}: cannot be written: there is no folder {path.absolute().parent}")
    if find_spec("matplotlib") is None:
        raise UsageError(_NO_MATPLOTLIB)


def plot(curves: Curves, path: str | Path, *, title: str = "streamrec", window: int = 10_000) -> None:
    """Draw the curves to a .png or a self-contained .html file.

    Args:
        curves: at least one point, that is 100 examples.
        path: its ending says what is written.
        title: what was learned from what.
        window: of the metrics that were recorded, for the caption.

    Raises:
        UsageError: another ending, no point yet, or matplotlib is not installed.

    """
    path = Path(path)
    check_plot(path)
    if not len(curves.points()):
        raise UsageError(f"plot {path}: expected at least {_FIRST_INTERVAL} examples, got fewer")
    figure = _figure(curves.points(), title, window)
    try:
        if path.suffix.lower() == ".png":
            figure.savefig(path, dpi=150)
        else:
            path.write_text(_html(figure, title), "utf-8")
    except OSError as error:
        raise UsageError(f"plot {path}: cannot be written: {error.strerror}") from error


#: Panel: its curve, title, what is good, and the value to compare with.
_PANELS: tuple[tuple[str, str, float | None], ...] = (
    ("ne", "Normalised entropy (lower is better; 1 = base rate only)", 1.0),
    ("auc", "AUC (higher is better; 0.5 = chance)", 0.5),
    ("log_loss", "Log loss (lower is better)", None),
    ("calibration", "Calibration: mean prediction / mean label (1 is right)", 1.0),
    ("rmse", "Root mean squared error (lower is better)", None),
)


def _figure(points: np.ndarray, title: str, window: int) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(_NO_MATPLOTLIB) from error
    is_click = bool(np.isfinite(points[:, 1 + CURVES.index("log_loss")]).any())
    panels = [panel for panel in _PANELS if (panel[0] == "rmse") != is_click and panel[0] != "calibration"]
    panels += [panel for panel in _PANELS if panel[0] == "calibration"]
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(11, 1.2 + 3 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for panel, at in zip(panels, axes, strict=True):
        _draw(at, points, panel)
    figure.suptitle(
        f"{title}\nbefore learning each example, over about the last {window:,} examples", fontsize=11
    )
    return figure


def _draw(at: Any, points: np.ndarray, panel: tuple[str, str, float | None]) -> None:
    name, text, reference = panel
    values = points[:, 1 + CURVES.index(name)]
    at.plot(points[:, 0], values, color="#1f5fa8", linewidth=1.6)
    if reference is not None:
        at.axhline(reference, color="#777777", linewidth=1, linestyle="--")
    known = np.flatnonzero(np.isfinite(values))
    if len(known):
        end = known[-1]
        at.plot(points[end, 0], values[end], "o", color="#1f5fa8", markersize=4)
        at.annotate(
            f"{values[end]:.4g}",
            (points[end, 0], values[end]),
            (0, 7),
            textcoords="offset points",
            ha="right",
        )
    at.set_title(text, fontsize=10, loc="left")
    at.set_xlabel("examples", fontsize=9)
    at.locator_params(axis="x", nbins=6)
    at.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    at.grid(alpha=0.25)
    at.spines[["top", "right"]].set_visible(False)


def _html(figure: Any, title: str) -> str:
    import html
    import io

    from matplotlib import rc_context

    svg = io.StringIO()
    with rc_context({"svg.hashsalt": "streamrec"}):  # the same curves, the same file
        figure.savefig(svg, format="svg", metadata={"Date": None})
    drawing = svg.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{margin:1rem;background:#fff}svg{max-width:100%;height:auto}</style></head>\n"
        f"<body>\n{drawing}</body></html>\n"
    )
