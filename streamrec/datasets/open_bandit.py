"""Open Bandit (ZOZO; Saito et al. 2020, arXiv 2008.07146): fashion items shown by two known policies.

Each row is an `impression` with `position` and `propensity` (the policy's true probability), a clicked one
also a `click` a second later. Features: `user_feature_0` … `_3` and `item_feature_1` … `_3` (hashed
categories), `item_feature_0` (a number), `affinity` (of the user to this item, a number) and `affine_items`
(a bag: the items the user has an affinity to). The set has no user ids: `user` is the combination of the
four user features, eight digits of each. One folder is one campaign under one policy, such as random/men.
https://research.zozo.com/data.html
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from streamrec.datasets.event import CLICK_DELAY_MS, Features, click, impression
from streamrec.datasets.order import in_time_order, settle
from streamrec.datasets.rows import (
    Layout,
    OnBadRow,
    RowError,
    choice,
    find_file,
    integer,
    read_header,
    read_rows,
    real,
)

__all__ = ["read"]

_COLUMNS = ("timestamp", "item_id", "position", "click", "propensity_score")
_USER = tuple(f"user_feature_{i}" for i in range(4))
_ITEM = tuple(f"item_feature_{i}" for i in range(4))
_AFFINITY = "user-item_affinity_"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_USER_CHARS = 8  # of each hash: the set has fewer than a hundred values of each


class _Shown(NamedTuple):
    """One row of the log."""

    n: int
    item: str
    position: int
    clicked: bool
    propensity: float
    user: Sequence[str]  # the four features
    affinities: Mapping[str, float]  # item → affinity, zeros left out


def read(path: Path, on_bad_row: OnBadRow) -> Iterator[bytes]:
    """Impressions and clicks of one campaign, by time."""
    what = "a folder of Open Bandit such as random/men"
    file = find_file(path, "men.csv", "women.csv", "all.csv", what=what)
    context = find_file(file.parent, "item_context.csv", what="item_context.csv beside the log")
    items = dict(read_rows(context, Layout(",", names=("item_id", *_ITEM)), _item, on_bad_row))
    affine = tuple(name for name in read_header(file) if name.startswith(_AFFINITY))
    layout = Layout(",", names=(*_COLUMNS, *_USER, *affine))
    of_item = [name.removeprefix(_AFFINITY) for name in affine]
    rows = in_time_order(read_rows(file, layout, partial(_shown, of_item), on_bad_row))
    events = (event for time_ms, shown in rows for event in _events(time_ms, shown, items))
    return settle(events, CLICK_DELAY_MS)


def _item(_: int, columns: Sequence[str]) -> tuple[str, Features]:
    item, number, *categories = columns
    return item, {_ITEM[0]: real(_ITEM[0], number), **dict(zip(_ITEM[1:], categories, strict=True))}


def _shown(affine: Sequence[str], n: int, columns: Sequence[str]) -> tuple[int, _Shown]:
    time, item, position, clicked, propensity = columns[: len(_COLUMNS)]
    user = columns[len(_COLUMNS) : len(_COLUMNS) + len(_USER)]
    affinities = {}
    for name, text in zip(affine, columns[len(_COLUMNS) + len(_USER) :], strict=True):
        if text != "0.0" and (value := real(_AFFINITY + name, text)):
            affinities[name] = value
    probability = real("propensity_score", propensity)
    if not 0 < probability <= 1:
        raise RowError(f"propensity_score: expected a probability above 0, got {propensity}")
    is_clicked = choice("click", clicked, "0", "1") == "1"
    shown = _Shown(n, item, integer("position", position), is_clicked, probability, tuple(user), affinities)
    return _time_ms(time), shown


def _time_ms(text: str) -> int:
    """Milliseconds of an ISO 8601 time, rounded down; UTC where it names no zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise RowError(f"timestamp: expected an ISO 8601 time, got {text[:40]!r}") from None
    return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


def _events(time_ms: int, shown: _Shown, items: Mapping[str, Features]) -> Iterator[tuple[int, bytes]]:
    features: dict[str, str | int | float | list[str]] = {
        **dict(zip(_USER, shown.user, strict=True)),
        **items.get(shown.item, {}),
        "affinity": shown.affinities.get(shown.item, 0),
    }
    if shown.affinities:
        features["affine_items"] = list(shown.affinities)
    pair = ("-".join(value[:_USER_CHARS] for value in shown.user), shown.item)
    place = {"position": shown.position, "propensity": shown.propensity}
    yield time_ms, impression(f"i{shown.n}", time_ms, pair, features, **place)
    if shown.clicked:
        clicked_ms = time_ms + CLICK_DELAY_MS
        yield clicked_ms, click(f"c{shown.n}", clicked_ms, f"i{shown.n}")
