"""MovieLens (GroupLens; Harper and Konstan 2015, doi 10.1145/2827872): 100k, 1M, 10M and the CSV sets.

Each rating is a `rating` event. Features: `title` (without the year), `year` (text), `genres` (a bag), and
what the set knows of the user: `age` (a number in 100k, a bracket in 1M), `gender`, `occupation`, `zip`.
https://grouplens.org/datasets/movielens/
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from streamrec.datasets.event import Features, rating
from streamrec.datasets.order import in_time_order
from streamrec.datasets.rows import BadRow, Layout, OnBadRow, find_file, integer, read_rows, real
from streamrec.errors import SourceError

__all__ = ["read"]

# "Toy Story (1995)", "Lost (2004–2010)"
_TITLE_YEAR = re.compile(r"^(.*?)\s*\((\d{4})(?:[–-]\d{0,4})?\)\s*$")
_NO_GENRE = ("", "unknown", "(no genres listed)")
# u.genre of the 100k set, in the order of u.item's last 19 columns.
_GENRES_100K = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
# README of the 1M set.
_AGES_1M = {
    "1": "under 18",
    "18": "18-24",
    "25": "25-34",
    "35": "35-44",
    "45": "45-49",
    "50": "50-55",
    "56": "56+",
}
_OCCUPATIONS_1M = [
    "other",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
]


def read(path: Path, on_bad_row: OnBadRow) -> Iterator[bytes]:
    """Rating events of a MovieLens folder (or of its ratings file and what lies beside it), by time."""
    file = find_file(path, *_EDITIONS, what="a MovieLens folder or its ratings")
    edition = next((edition for name, edition in _EDITIONS.items() if file.name.startswith(name)), None)
    if edition is None:
        raise SourceError(f"{file}: expected the ratings of MovieLens: {', '.join(_EDITIONS)}")
    of_movie = _attributes(file.parent, edition.movies, on_bad_row)
    of_user = _attributes(file.parent, edition.users, on_bad_row) if edition.users else {}
    rows = read_rows(file, edition.ratings, _rating, on_bad_row)
    for time_ms, (n, user, item, value) in in_time_order(rows):
        features = {**of_movie.get(item, {}), **of_user.get(user, {})}
        yield rating(f"r{n}", time_ms, (user, item), value, features)


def _rating(n: int, columns: Sequence[str]) -> tuple[int, tuple[int, str, str, float]]:
    user, item, value, seconds = columns
    return integer("timestamp", seconds) * 1000, (n, user, item, real("rating", value))


def _attributes(folder: Path, table: "_Table", on_bad_row: OnBadRow) -> dict[str, Features]:
    """Id → features. The ratings alone can be converted too, so a missing file is reported and no more."""
    try:
        file = find_file(folder, table.name, what=f"the set's {table.name}")
    except SourceError:
        on_bad_row(BadRow(folder / table.name, 0, "not found: its features are left out"))
        return {}
    return dict(read_rows(file, table.layout, table.parse, on_bad_row))


def _movie(_: int, columns: Sequence[str]) -> tuple[str, Features]:
    item, title, genres = columns
    return item, _titled(title, genres.split("|"))


def _movie_100k(_: int, columns: Sequence[str]) -> tuple[str, Features]:
    genres = [name for name, flag in zip(_GENRES_100K, columns[5:], strict=True) if flag == "1"]
    return columns[0], _titled(columns[1], genres)


def _titled(title: str, genres: Sequence[str]) -> Features:
    features: dict[str, str | int | float | list[str]] = {}
    match = _TITLE_YEAR.match(title)
    if name := match[1] if match else title.strip():
        features["title"] = name
    if match:
        features["year"] = match[2]
    if known := [genre for genre in genres if genre not in _NO_GENRE]:
        features["genres"] = known
    return features


def _user_100k(_: int, columns: Sequence[str]) -> tuple[str, Features]:
    user, age, gender, occupation, code = columns
    return user, {"age": integer("age", age), "gender": gender, "occupation": occupation, "zip": code}


def _user_1m(_: int, columns: Sequence[str]) -> tuple[str, Features]:
    user, gender, age, occupation, code = columns
    job = integer("occupation", occupation)
    name = _OCCUPATIONS_1M[job] if 0 <= job < len(_OCCUPATIONS_1M) else occupation
    return user, {"age": _AGES_1M.get(age, age), "gender": gender, "occupation": name, "zip": code}


class _Table(NamedTuple):
    """A file of attributes."""

    name: str
    layout: Layout
    parse: Callable[[int, Sequence[str]], tuple[str, Features]]


class _Edition(NamedTuple):
    """What one edition of MovieLens keeps where."""

    ratings: Layout
    movies: _Table
    users: _Table | None = None


_EDITIONS = {
    "u.data": _Edition(
        Layout("\t", n_columns=4),
        _Table("u.item", Layout("|", n_columns=24, fallback="latin-1"), _movie_100k),
        _Table("u.user", Layout("|", n_columns=5, fallback="latin-1"), _user_100k),
    ),
    "ratings.dat": _Edition(
        Layout("::", n_columns=4),
        _Table("movies.dat", Layout("::", n_columns=3, fallback="latin-1"), _movie),
        _Table("users.dat", Layout("::", n_columns=5, fallback="latin-1"), _user_1m),
    ),
    "ratings.csv": _Edition(
        Layout(",", names=("userId", "movieId", "rating", "timestamp")),
        _Table("movies.csv", Layout(",", names=("movieId", "title", "genres"), quoted=True), _movie),
    ),
}
