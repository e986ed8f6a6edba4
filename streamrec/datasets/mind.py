"""MIND, Microsoft News (Wu et al. 2020, ACL, doi 10.18653/v1/2020.acl-main.331).

Every item of a shown list is an `impression` (`request`: the list's id; `position` from 1), every clicked
one a `click` a second later: the set has one time per list. Features: `history` (a bag: the last ten news
that the user had clicked before), `history_length` and `list_length` (numbers), and where news.tsv covers
the item its `category`, `subcategory` and `title`. Times are taken as UTC. https://msnews.github.io/
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from streamrec.datasets.event import CLICK_DELAY_MS, Features, click, impression
from streamrec.datasets.order import in_time_order, settle
from streamrec.datasets.rows import BadRow, Layout, OnBadRow, RowError, find_file, read_rows
from streamrec.errors import SourceError

__all__ = ["read"]

_BEHAVIORS = Layout("\t", n_columns=5)
_NEWS = Layout("\t", n_columns=8)
_HISTORY_ITEMS = 10


class _Request(NamedTuple):
    """One line of behaviors.tsv."""

    key: str
    user: str
    history: str  # items, separated by spaces
    shown: str  # item-0 or item-1, separated by spaces


def read(path: Path, on_bad_row: OnBadRow) -> Iterator[bytes]:
    """Impressions and clicks of a MIND folder (or of its behaviors.tsv and what lies beside it), by time."""
    file = find_file(path, "behaviors.tsv", what="a MIND folder or its behaviors.tsv")
    news = _news(file.parent, on_bad_row)
    requests = in_time_order(read_rows(file, _BEHAVIORS, _request, on_bad_row))
    events = (event for time_ms, request in requests for event in _events(time_ms, request, news))
    return settle(events, CLICK_DELAY_MS)


def _news(folder: Path, on_bad_row: OnBadRow) -> dict[str, Features]:
    """Item → features. Items without can be learned too, so a missing file is reported and no more."""
    try:
        file = find_file(folder, "news.tsv", what="MIND's news.tsv")
    except SourceError:
        on_bad_row(BadRow(folder / "news.tsv", 0, "not found: categories and titles are left out"))
        return {}
    return dict(read_rows(file, _NEWS, _news_item, on_bad_row))


def _news_item(_: int, columns: Sequence[str]) -> tuple[str, Features]:
    item, category, subcategory, title = columns[:4]
    named = (("category", category), ("subcategory", subcategory), ("title", title))
    return item, {name: value for name, value in named if value}


def _request(_: int, columns: Sequence[str]) -> tuple[int, _Request]:
    key, user, time, history, shown = columns
    for entry in shown.split(" "):
        if entry[-2:] not in ("-0", "-1") or len(entry) < 3:
            raise RowError(f"shown items: expected N…-0 or N…-1, got {entry[:40]!r}")
    return _time_ms(time), _Request(key, user, history, shown)


def _time_ms(text: str) -> int:
    """Milliseconds of M/D/YYYY h:mm:ss AM|PM."""
    try:
        date, clock, half = text.split(" ")
        month, day, year = map(int, date.split("/"))
        hour, minute, second = map(int, clock.split(":"))
        hour = hour % 12 + {"AM": 0, "PM": 12}[half]
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()) * 1000
    except (ValueError, KeyError):
        raise RowError(f"time: expected M/D/YYYY h:mm:ss AM or PM, got {text[:40]!r}") from None


def _events(time_ms: int, request: _Request, news: dict[str, Features]) -> Iterator[tuple[int, bytes]]:
    history, shown = request.history.split(), request.shown.split(" ")
    of_request: dict[str, str | int | float | list[str]] = (
        {"history": history[-_HISTORY_ITEMS:]} if history else {}
    )
    of_request |= {"history_length": len(history), "list_length": len(shown)}
    for position, entry in enumerate(shown, 1):
        item, name = entry[:-2], f"{request.key}-{position}"
        features = {**of_request, **news.get(item, {})}
        pair = (request.user, item)
        yield (
            time_ms,
            impression(f"i{name}", time_ms, pair, features, request=request.key, position=position),
        )
        if entry.endswith("1"):
            clicked_ms = time_ms + CLICK_DELAY_MS
            yield clicked_ms, click(f"c{name}", clicked_ms, f"i{name}")
