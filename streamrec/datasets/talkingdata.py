"""TalkingData AdTracking fraud detection (Kaggle 2018): clicks on advertisements for apps.

Each row is an `example` with the label `is_attributed` (the app was downloaded), `user` the address (`ip`)
and `item` the `app`; features, all categories: `device`, `os`, `channel`. `attributed_time` is not used: the
label stands with the click, as in the competition, since many downloads come hours later. Times are UTC.
https://www.kaggle.com/c/talkingdata-adtracking-fraud-detection/data
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from streamrec.datasets.event import example
from streamrec.datasets.order import in_time_order
from streamrec.datasets.rows import Layout, OnBadRow, RowError, choice, find_file, read_rows

__all__ = ["read"]

_FEATURES = ("device", "os", "channel")
_LAYOUT = Layout(",", names=("ip", "app", "click_time", "is_attributed", *_FEATURES))


def read(path: Path, on_bad_row: OnBadRow) -> Iterator[bytes]:
    """Examples of train.csv or train_sample.csv, by time."""
    file = find_file(path, "train.csv", "train_sample.csv", what="TalkingData's train.csv")
    for time_ms, (n, label, pair, values) in in_time_order(read_rows(file, _LAYOUT, _row, on_bad_row)):
        features = dict(zip(_FEATURES, values, strict=True))
        yield example(f"e{n}", time_ms, label, features, pair)


def _row(n: int, columns: Sequence[str]) -> tuple[int, tuple[int, int, tuple[str, str], Sequence[str]]]:
    ip, app, time, attributed, *values = columns
    label = int(choice("is_attributed", attributed, "0", "1"))
    return _time_ms(time), (n, label, (ip, app), values)


def _time_ms(text: str) -> int:
    """Milliseconds of YYYY-MM-DD HH:MM:SS."""
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        raise RowError(f"click_time: expected YYYY-MM-DD HH:MM:SS, got {text[:40]!r}") from None
