"""The public data sets that `streamrec convert` knows. A new one is one file and one line here."""

import logging
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from streamrec.datasets import avazu, criteo, mind, movielens, open_bandit, talkingdata, taobao
from streamrec.datasets.rows import BadRow, OnBadRow
from streamrec.errors import UsageError

__all__ = ["DATASETS", "convert"]

#: Name on the command line → reader of a path. A module's docstring says what becomes of its columns.
DATASETS: Mapping[str, Callable[[Path, OnBadRow], Iterator[bytes]]] = {
    "avazu": avazu.read,
    "criteo": criteo.read,
    "mind": mind.read,
    "movielens": movielens.read,
    "open-bandit": open_bandit.read,
    "talkingdata": talkingdata.read,
    "taobao": taobao.read,
}


def _warn(bad: BadRow) -> None:
    logging.getLogger(__name__).warning("%s: skipped", bad)


def convert(name: str, path: str | Path, on_bad_row: OnBadRow = _warn) -> Iterator[bytes]:
    """Events of a public data set as canonical JSON lines, each with its newline, in time order.

    The same files give the same lines. Files may be plain, gzip or Zstandard.

    name: one of `DATASETS`.
    path: the folder of the data set, or its main file.
    on_bad_row: is told of every row that is skipped; by default a warning is logged.

    Raises:
        UsageError: there is no such data set.
        SourceError: a file is missing, or holds no usable row (when the first line is asked for).

    """
    if name not in DATASETS:
        near = get_close_matches(name, DATASETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(DATASETS)}"
        raise UsageError(f"unknown data set {name!r}: {hint}")
    return DATASETS[name](Path(path), on_bad_row)
