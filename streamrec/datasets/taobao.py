"""Taobao user behaviour (Alimama; Zhu et al. 2018, KDD, arXiv 1801.02294): views, carts, purchases.

The set records no lists, only what a user did with an item, so the label is whether the user did more than
look. A view (`pv`) is an `impression` with the feature `category`. A `cart`, `fav` or `buy` is a `click` on
the same user's view of the item within the last ten minutes; most have no such view in the set, and are an
impression of their own with a click a second later. One view is clicked at most once.
https://tianchi.aliyun.com/dataset/649
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from streamrec.datasets.event import CLICK_DELAY_MS, click, impression
from streamrec.datasets.order import in_time_order, settle
from streamrec.datasets.rows import Layout, OnBadRow, RowError, choice, find_file, integer, read_rows

__all__ = ["read"]

_LAYOUT = Layout(",", n_columns=5)
_WINDOW_MS = 600_000  # streamrec's default window between an impression and its click
_FIRST_S, _LAST_S = 1_400_000_000, 1_600_000_000  # 2014 to 2020: the set is of 2017


class _Action(NamedTuple):
    """One row."""

    n: int
    user: str
    item: str
    category: str
    behaviour: str


def read(path: Path, on_bad_row: OnBadRow) -> Iterator[bytes]:
    """Impressions and clicks of UserBehavior.csv, by time (the full set is sorted by user)."""
    file = find_file(path, "UserBehavior.csv", what="Taobao's UserBehavior.csv")
    return settle(_events(in_time_order(read_rows(file, _LAYOUT, _action, on_bad_row))), CLICK_DELAY_MS)


def _action(n: int, columns: Sequence[str]) -> tuple[int, _Action]:
    user, item, category, behaviour, seconds = columns
    time_s = integer("timestamp", seconds)
    if not _FIRST_S <= time_s <= _LAST_S:  # the set has some, and a line cut short looks like one
        raise RowError(f"timestamp: expected seconds of 2014 to 2020, got {seconds[:40]!r}")
    return time_s * 1000, _Action(
        n, user, item, category, choice("behaviour", behaviour, "pv", "cart", "fav", "buy")
    )


def _events(actions: Iterable[tuple[int, _Action]]) -> Iterator[tuple[int, bytes]]:
    views: OrderedDict[tuple[str, str], tuple[int, str]] = OrderedDict()  # open ones, by time
    for time_ms, action in actions:
        pair = (action.user, action.item)
        while views and next(iter(views.values()))[0] < time_ms - _WINDOW_MS:
            views.popitem(last=False)
        if action.behaviour == "pv":
            views[pair] = (time_ms, f"i{action.n}")
            views.move_to_end(pair)
        if action.behaviour == "pv" or pair not in views:
            yield time_ms, impression(f"i{action.n}", time_ms, pair, {"category": action.category})
        if action.behaviour != "pv":
            viewed_ms, viewed = views.pop(pair, (time_ms, f"i{action.n}"))
            clicked_ms = max(time_ms, viewed_ms + CLICK_DELAY_MS)
            yield clicked_ms, click(f"c{action.n}", clicked_ms, viewed)
