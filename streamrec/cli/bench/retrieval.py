"""Items found on MovieLens: on a hold-out and one after another, beside popularity and EASE.

The hold-out is that of TFRS's tutorial, a random fifth of all ratings: "top-100" is the share of these whose
movie is among the first 100 found. What is found depends on the time that is asked for, as TFRS's query tower
does, and on what the user took near it; popularity and EASE know the user only. In time order, each tenth
rating is asked for before it is learned, without the movies that the user rated before; EASE is then solved
anew every day, and is given the user's movies up to this moment.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import click
import numpy as np

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.retrieval_peers import Ease, Popularity, hit_rates

if TYPE_CHECKING:
    from streamrec.learner.holdout import Recording

__all__ = ["figures"]

_FOLDER = "movielens-latest-small"
#: What the figures must reach, and after how many epochs.
_ALL, _UNSEEN, _UNSEEN_EPOCHS, _EPOCHS = 0.18, 0.27, 0.36, 2
_LAMBDAS = (50.0, 100.0, 200.0, 300.0, 500.0)
_WINDOWS = (1000, 5000, 20_000, 10**9)
#: Every so many interactions one is asked for: all of them would take a quarter of an hour.
_EACH = 10
_DAY_MS = 86_400_000


class _Ratings(NamedTuple):
    """All interactions, users and items numbered."""

    users: np.ndarray
    items: np.ndarray
    time_ms: np.ndarray
    shape: tuple[int, int]

    def matrix(self, which: np.ndarray | slice) -> np.ndarray:
        """float32 (U, I) of 0 and 1."""
        x = np.zeros(self.shape, np.float32)
        x[self.users[which], self.items[which]] = 1.0
        return x


def figures() -> Iterator[Figure]:
    """Needs STREAMREC_DATA."""
    folder = Path(os.environ.get("STREAMREC_DATA") or "../shared/data") / _FOLDER
    if not folder.is_dir():
        click.echo(f"  not measured, no {_FOLDER} in STREAMREC_DATA ({folder.parent})", err=True)
        return
    from streamrec.datasets.registry import convert
    from streamrec.transport.writer import write_stream

    with TemporaryDirectory(prefix="streamrec-bench-") as place:
        path = Path(place, "events.jsonl")
        with write_stream(path) as stream:
            stream.writelines(convert("movielens", folder))
        recording = _recording(path)
    shrinkage, held_out = _held_out(recording)
    yield from held_out
    yield from _progressive(recording.anew(), shrinkage)


def _recording(path: Path) -> "Recording":
    from streamrec.clock import SystemClock
    from streamrec.learner.holdout import recorded
    from streamrec.learner.start import Plan
    from streamrec.models.settings import ModelSettings
    from streamrec.transport.registry import open_source

    source = open_source(str(path))
    settings = ModelSettings.model_validate({"kind": "two_tower", "ranker": {"kind": "ftrl"}})
    recording = recorded(Plan(fresh=True, model=settings), source, SystemClock())
    source.close()
    return recording


def _ratings(recording: "Recording") -> _Ratings:
    users, items, times = (
        np.concatenate([getattr(block, name) for block in recording.blocks])
        for name in ("user", "item", "time_ms")
    )
    (each_user, user), (each_item, item) = (np.unique(ids, return_inverse=True) for ids in (users, items))
    return _Ratings(user, item, times, (len(each_user), len(each_item)))


def _held_out(recording: "Recording") -> tuple[float, list[Figure]]:
    """EASE's best λ, and the figures of the random hold-out."""
    from streamrec.learner.holdout import Holdout, evaluate

    ratings, held = _ratings(recording), np.concatenate(recording.held_out(Holdout()))
    x, asked = ratings.matrix(~held), (ratings.users[held], ratings.items[held])
    popular, popular_unseen = hit_rates(np.broadcast_to(x.sum(axis=0), x.shape), x, asked)
    swept = {shrinkage: hit_rates(Ease(x, shrinkage).scores(x), x, asked)[1] for shrinkage in _LAMBDAS}
    shrinkage = max(swept, key=lambda each: swept[each])
    once = evaluate(recording.anew(), Holdout())
    more = evaluate(recording.anew(), Holdout(epochs=_EPOCHS))
    figures = [Figure(f"unseen top-100, EASE, λ {each:g}", value, "share") for each, value in swept.items()]
    unseen, epochs = once["unseen_top_100"], more["unseen_top_100"]
    several, ease, best = f"{_EPOCHS} epochs", swept[shrinkage], f"EASE, λ {shrinkage:g}"
    for name, value, beside, peer in (
        ("top-100, one pass", once["top_100"], popular, "popularity"),
        ("top-100, one pass, goal", once["top_100"], _ALL, "goal"),
        ("unseen top-100, one pass", unseen, popular_unseen, "popularity"),
        ("unseen top-100, one pass, goal", unseen, _UNSEEN, "goal"),
        (f"unseen top-100, {several}", epochs, ease, best),
        (f"unseen top-100, {several}, goal", epochs, _UNSEEN_EPOCHS, "goal"),
    ):
        figures.append(Figure(name, value, "share", beside, peer, (1.0, None)))
    return shrinkage, figures


def _progressive(recording: "Recording", shrinkage: float) -> list[Figure]:
    """Hit rates at 100 on the next item."""
    ratings = _ratings(recording)
    at = np.arange(_EACH, len(ratings.users), _EACH)
    ours = _ours(recording, np.unique(np.concatenate([block.item for block in recording.blocks])))
    windows = {f"popularity of {window:,}": _windowed(ratings, at, window) for window in _WINDOWS}
    ease = _daily(ratings, at, shrinkage)
    figures = [Figure(f"next item at 100, {name}", value, "share") for name, value in windows.items()]
    name = max(windows, key=lambda each: windows[each])
    for what, peer, beside in (("ours", name, windows[name]), ("ours, again", "EASE of the day", ease)):
        figures.append(Figure(f"next item at 100, {what}", ours, "share", beside, peer, (1.0, None)))
    return figures


def _ours(recording: "Recording", items: np.ndarray) -> float:
    """Of interactions 10, 20, …, each asked for as soon as all before it are learned."""
    from streamrec.learner.foresight import Foresight

    foresight = Foresight(recording.pipeline, recording.fields, items, _EACH)
    for block in recording.blocks:
        foresight.learn(block)
    return float(np.mean(foresight.found[1] < 100))


def _windowed(ratings: _Ratings, at: np.ndarray, window: int) -> float:
    popularity = Popularity(ratings.items, ratings.shape[1], window)
    hits = sum(_is_hit(ratings, k, popularity.scores(k).copy()) for k in at.tolist())
    return hits / len(at)


def _daily(ratings: _Ratings, at: np.ndarray, shrinkage: float) -> float:
    """EASE of all that came before the day, asked with what the user took until now."""
    day, ease, hits = -1, None, 0
    days = ratings.time_ms // _DAY_MS
    for k in at.tolist():
        if days[k] != day or ease is None:
            day = int(days[k])
            before = int(np.searchsorted(days, day))
            n_users = int(ratings.users[:before].max(initial=0)) + 1
            x = ratings.matrix(slice(0, before))
            some = np.unique(ratings.users[:before])
            ease = Ease(x[some] if len(some) else x[:n_users], shrinkage)
        its = np.zeros((1, ratings.shape[1]), np.float32)
        its[0, ratings.items[:k][ratings.users[:k] == ratings.users[k]]] = 1.0
        hits += _is_hit(ratings, k, ease.scores(its)[0])
    return hits / len(at)


def _is_hit(ratings: _Ratings, k: int, scores: np.ndarray) -> bool:
    """Whether its item is among the first 100 without what its user took before; ties count half."""
    scores[ratings.items[:k][ratings.users[:k] == ratings.users[k]]] = -np.inf
    its = scores[ratings.items[k]]
    return bool(np.count_nonzero(scores > its) + np.count_nonzero(scores == its) / 2 < 100)
