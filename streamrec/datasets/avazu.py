"""Avazu click-through rate (Kaggle 2014): one row an impression of a mobile advertisement.

Each row is an `example` with the label `click`. Features, all categories: `C1`, `banner_pos`, `site_*`,
`app_*`, `device_*`, `C14` to `C21`. The set knows the hour only: it is the time, taken as UTC, and rows of
an hour keep the order of the file.
https://www.kaggle.com/c/avazu-ctr-prediction/data
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from streamrec.datasets.event import example
from streamrec.datasets.order import in_time_order
from streamrec.datasets.rows import Layout, OnBadRow, RowError, choice, find_file, read_rows

__all__ = ["read"]

_FEATURES = [
    "C1",
    "banner_pos",
    "site_id",
    "site_domain",
    "site_category",
    "app_id",
    "app_domain",
    "app_category",
    "device_id",
    "device_ip",
    "device_model",
    "device_type",
    "device_conn_type",
    "C14",
    "C15",
    "C16",
    "C17",
    "C18",
    "C19",
    "C20",
    "C21",
]
_LAYOUT = Layout(",", names=("hour", "click", *_FEATURES))


def read(path: Path, on_bad_row: OnBadRow) -> Iterator[bytes]:
    """Examples of train.csv, by time."""
    file = find_file(path, "train.csv", "train", what="Avazu's train.csv")
    for time_ms, (n, label, values) in in_time_order(read_rows(file, _LAYOUT, _row, on_bad_row)):
        features = {name: value for name, value in zip(_FEATURES, values, strict=True) if value}
        yield example(f"e{n}", time_ms, label, features)


def _row(n: int, columns: Sequence[str]) -> tuple[int, tuple[int, int, Sequence[str]]]:
    return _hour_ms(columns[0]), (n, int(choice("click", columns[1], "0", "1")), columns[2:])


@lru_cache
def _hour_ms(text: str) -> int:
    """Milliseconds of YYMMDDHH."""
    try:
        if len(text) != 8:
            raise ValueError
        year, month, day, hour = (int(text[i : i + 2]) for i in range(0, 8, 2))
        return int(datetime(2000 + year, month, day, hour, tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        raise RowError(f"hour: expected YYMMDDHH, got {text[:40]!r}") from None
