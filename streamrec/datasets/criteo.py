"""Criteo display advertising (Kaggle 2014, terabyte logs): label, I1 to I13, C1 to C26, separated by tabs.

Each row is an `example`. Features: `I1` … `I13` (numbers) and `C1` … `C26` (hashed categories), a missing
one left out. The set has no times: rows are a millisecond apart from 2014-01-01, in the order of the file,
which is that of time.
https://ailab.criteo.com/criteo-1tb-click-logs-dataset/
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from streamrec.datasets.event import example
from streamrec.datasets.rows import Layout, OnBadRow, choice, find_file, integer, read_rows

__all__ = ["read"]

_NUMBERS = tuple(f"I{i}" for i in range(1, 14))
_CATEGORIES = tuple(f"C{i}" for i in range(1, 27))
_LAYOUT = Layout("\t", n_columns=1 + len(_NUMBERS) + len(_CATEGORIES))
_START_MS = 1_388_534_400_000  # 2014-01-01 UTC


def read(path: Path, on_bad_row: OnBadRow) -> Iterator[bytes]:
    """Examples of train.txt, in the order of the file."""
    file = find_file(path, "train.txt", "dac_sample.txt", "day_0", what="Criteo's train.txt")
    return read_rows(file, _LAYOUT, _example, on_bad_row)


def _example(n: int, columns: Sequence[str]) -> bytes:
    label = int(choice("label", columns[0], "0", "1"))
    features: dict[str, str | int | float | list[str]] = {}
    for name, text in zip(_NUMBERS, columns[1:14], strict=True):
        if text:
            features[name] = integer(name, text)
    for name, text in zip(_CATEGORIES, columns[14:], strict=True):
        if text:
            features[name] = text
    return example(f"e{n}", _START_MS + n, label, features)
