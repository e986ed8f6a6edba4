"""A symmetric matrix over named fields, drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamrec.errors import UsageError
from streamrec.evaluation.curves import check_plot

__all__ = ["draw_heat_map"]

#: More fields than this have names of a readable size, but no numbers in the cells.
_MOST_NUMBERED = 16


def draw_heat_map(path: Path, fields: Sequence[str], strength: np.ndarray, title: str, measure: str) -> None:
    """Write a .png of strength (F, F): a colour for every two fields, none where it is 0.

    The diagonal, a field by itself, is written but not coloured: it is often far above the rest.

    Raises:
        UsageError: the file cannot be written, or matplotlib is not installed.

    """
    check_plot(path)
    figure = _figure(fields, strength, title, measure)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise UsageError(f"plot {path}: cannot be written: {error.strerror}") from error


def _figure(fields: Sequence[str], strength: np.ndarray, title: str, measure: str) -> Any:
    from matplotlib.figure import Figure

    n = len(fields)
    side = min(3.2 + 0.55 * n, 24.0)
    figure = Figure(figsize=(side + 1.6, side + 0.6), layout="constrained")
    at = figure.subplots()
    shown = np.ma.masked_where(np.triu(np.ones((n, n), bool)) | (strength == 0.0), strength)
    most = float(shown.max()) if shown.count() else 1.0
    image = at.imshow(shown, cmap="YlGnBu", vmin=0.0, vmax=most)
    size = 9 if n <= _MOST_NUMBERED else 7
    at.set_xticks(range(n), fields, rotation=45, ha="right", fontsize=size)
    at.set_yticks(range(n), fields, fontsize=size)
    at.spines[:].set_visible(False)
    at.tick_params(length=0)
    at.set_xlim(-0.5, n - 0.5)
    at.set_ylim(n - 0.5, -0.5)
    if n <= _MOST_NUMBERED:
        _number(at, strength, most)
    figure.colorbar(image, ax=at, shrink=0.8, label="strength")
    figure.suptitle(f"{title}\n{measure}", fontsize=10)
    return figure


def _number(at: Any, strength: np.ndarray, most: float) -> None:
    for i in range(len(strength)):
        for j in np.flatnonzero(strength[i, : i + 1]):
            colour = "white" if strength[i, j] > 0.6 * most else "black"
            look = {"color": "#888888", "style": "italic"} if i == j else {"color": colour}
            at.text(j, i, f"{strength[i, j]:.2g}", ha="center", va="center", fontsize=9, **look)
