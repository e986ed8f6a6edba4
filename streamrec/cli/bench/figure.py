"""One measured figure, and how a list of them is printed."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

__all__ = ["Figure", "line"]

_NAME_WIDTH = 44


class Figure(NamedTuple):
    """What was measured, beside what.

    Attributes:
        name: what it is, unique in a run.
        value: as measured.
        unit: of `value` and `beside`.
        beside: the peer's figure of the same run, or the limit; None if there is neither.
        peer: what `beside` is.
        goal: bounds for the ratio value / beside: (least, most), None for open ends.
        more: what the JSON object has besides.

    """

    name: str
    value: float
    unit: str
    beside: float | None = None
    peer: str = ""
    goal: tuple[float | None, float | None] = (None, None)
    more: Mapping[str, Any] = MappingProxyType({})

    @property
    def ratio(self) -> float | None:
        """value / beside."""
        return None if not self.beside else self.value / self.beside

    @property
    def reached(self) -> bool | None:
        """Whether the ratio is within its goal; None where there is no goal."""
        least, most = self.goal
        if self.ratio is None or (least is None and most is None):
            return None
        return (least is None or self.ratio >= least) and (most is None or self.ratio <= most)

    def as_json(self) -> dict[str, Any]:
        """All of it as a JSON object."""
        own = {name: value for name, value in self._asdict().items() if name != "more"}
        return {**own, "ratio": self.ratio, "reached": self.reached, **self.more}


def line(figure: Figure) -> str:
    """Name, value, peer, ratio, goal; aligned with other lines."""
    text = f"  {figure.name:<{_NAME_WIDTH}}  {_number(figure.value):>10} {figure.unit}"
    if figure.beside is not None:
        text += f"   {figure.peer} {_number(figure.beside)}   ratio {figure.ratio:.2f}"
    least, most = figure.goal
    if least is not None:
        text += f"   goal ≥ {least:g}"
    if most is not None:
        text += f"   goal ≤ {most:g}"
    if figure.reached is False:
        text += "   MISSED"
    return text


def _number(value: float) -> str:
    if abs(value) >= 1e6:
        return f"{value / 1e6:,.2f} M"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
