"""MovieLens ratings, each predicted before it is learned: by our kinds as they come, and by recommenders of
river with their settings swept.
"""

import json
import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import click

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.learned import metrics
from streamrec.models.settings import RECOMMENDED

__all__ = ["Rated", "figures", "river_rmse", "rmse"]

_FOLDER = "movielens-latest-small"
#: Ours without any settings but the task. The recommended one must be as good as the best of the sweep.
_KINDS = tuple(dict.fromkeys((RECOMMENDED, "wide", "dcn")))
_LEAST, _MOST = 0.5, 5.0


class Rated(NamedTuple):
    """A rating as river takes it."""

    user: str
    item: str
    rating: float


def figures() -> list[Figure]:
    """Needs STREAMREC_DATA."""
    folder = Path(os.environ.get("STREAMREC_DATA") or "../shared/data") / _FOLDER
    if not folder.is_dir():
        click.echo(f"  not measured, no {_FOLDER} in STREAMREC_DATA ({folder.parent})", err=True)
        return []
    from streamrec.datasets.registry import convert
    from streamrec.transport.writer import write_stream

    with TemporaryDirectory(prefix="streamrec-bench-") as place:
        path = Path(place, "events.jsonl")
        with write_stream(path) as stream:
            stream.writelines(convert("movielens", folder))
        swept = {name: river_rmse(build(), _rated(path)) for name, build in _sweep()}
        ours = {kind: rmse(path, kind) for kind in _KINDS}
    name = min(swept, key=lambda name: swept[name])
    measured = [Figure(f"rating, river {each}", value, "RMSE") for each, value in swept.items()]
    for kind, value in ours.items():
        goal = (None, 1.0 if kind == RECOMMENDED else None)
        measured.append(Figure(f"rating, {kind}", value, "RMSE", swept[name], f"river {name}", goal))
    return measured


def rmse(path: Path, kind: str) -> float:
    """Of a kind of ours with its default settings."""
    from streamrec.learner.start import Plan
    from streamrec.models.settings import ModelSettings

    plan = Plan(fresh=True, model=ModelSettings.model_validate({"kind": kind, "task": "rating"}))
    return float(metrics(path, plan)["rmse"])


def river_rmse(model: Any, ratings: Iterator[Rated]) -> float:
    """Of a recommender of river; its predictions are kept within the scale, which is to its advantage."""
    total = n = 0.0
    for user, item, rating in ratings:
        predicted = min(max(model.predict_one(user, item), _LEAST), _MOST)
        total += (predicted - rating) ** 2
        n += 1
        model.learn_one(user, item, rating)
    return math.sqrt(total / n)


def _rated(path: Path) -> Iterator[Rated]:
    with path.open() as file:
        for event in map(json.loads, file):
            yield Rated(event["user"], event["item"], float(event["rating"]))


def _sweep() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Name → how to build. Around the best of rates .01 to .1, l2 0 to .3, 5 to 20 factors."""
    for rate in (0.03, 0.05, 0.07):
        for l2 in (0.1, 0.3):
            yield f"Baseline, rate {rate:g}, l2 {l2:g}", partial(_baseline, rate, l2)
    for k in (5, 10):
        for rate in (0.03, 0.05):
            for l2 in (0.1, 0.3):
                yield f"BiasedMF of {k}, rate {rate:g}, l2 {l2:g}", partial(_biased, k, rate, l2)
    yield "FunkMF of 10, rate 0.05", partial(_funk, 10, 0.05)


def _baseline(rate: float, l2: float) -> Any:
    from river import optim, reco

    return reco.Baseline(optim.SGD(rate), l2=l2)


def _biased(k: int, rate: float, l2: float) -> Any:
    from river import optim, reco

    rates = {"bias_optimizer": optim.SGD(rate), "latent_optimizer": optim.SGD(rate)}
    return reco.BiasedMF(k, **rates, latent_initializer=_start(), l2_bias=l2, l2_latent=l2)


def _funk(k: int, rate: float) -> Any:
    from river import optim, reco

    return reco.FunkMF(k, optim.SGD(rate), initializer=_start())


def _start() -> Any:
    from river import optim

    return optim.initializers.Normal(mu=0.0, sigma=0.1, seed=71)
