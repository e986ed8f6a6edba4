"""`streamrec bench`: speed and memory, each beside a peer or a limit measured in the same run."""

import importlib
import json
from collections.abc import Mapping

import click

from streamrec.cli.bench.figure import Figure, line
from streamrec.cli.options import json_option

__all__ = ["BENCHES", "command"]

#: Name → what it measures; `figures()` of the module of that name, with underscores for hyphens, does.
BENCHES: Mapping[str, str] = {
    "kernel": "learning 20 ids an event over 4M live features, beside Vowpal Wabbit's file driver",
    "replay": "JSON lines to updated weights, beside Vowpal Wabbit and river; where the time goes",
    "kafka": "Kafka topic to committed weights, beside a bare loop that only reads; both clients",
    "join": "the join worker, beside a bare loop that reads and produces; both clients",
    "delay": "from producing a click to its example learned and committed, at 5,000 events/s",
    "fresh": "from producing a click to a changed score over HTTP, at 5,000 events/s",
    "commit": "the same with a commit a second into an embedded Redis",
    "growth": "memory a row and the longest pause while a table grows to 50M rows",
    "redis": "Redis memory a row, and recovery of 5M rows",
    "mirror": "a scorer's start with 10M features, and its memory",
    "startup": "seconds to the first learned event, with nothing compiled and with everything compiled",
    "feedback": "what was predicted on arrival: early, sampled and waited-for negatives",
    "quality": "log loss without configuration on recorded streams, beside tuned Vowpal Wabbit",
    "dcn-walkthrough": "TFRS's Deep & Cross walk-through in one pass, beside the published 100 epochs",
    "tfrs": "a deep & cross network learned and scored, beside TensorFlow Recommenders",
    "rating": "MovieLens ratings predicted one after another, beside river's recommenders",
    "retrieval": "MovieLens: items found on a hold-out and in time order, beside popularity and EASE",
    "serve": "/v1/rank in process and over HTTP, alone and beside a learner of 5,000 events/s",
    "lookup": "time of a rank in lookup mode, beside a mirror",
    "index": "the best 100 of 200,000 item vectors, beside NumPy, faiss, usearch, hnswlib; as they change",
    "index-million": "the best 100 of a million item vectors, beside faiss, usearch and hnswlib: minutes",
}


_LIST = "\b\nNAMES:\n" + "\n".join(f"  {name:16} {what}" for name, what in BENCHES.items())


@click.command("bench", epilog=_LIST)
@click.argument("names", nargs=-1)
@json_option
def command(names: tuple[str, ...], as_json: bool) -> int:
    """Measure NAMES, or everything; they are listed below.

    Each figure is printed with its peer or limit from the same run. Exit code 1 if one misses its goal.
    """
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        raise click.UsageError(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHES)}")
    figures: list[Figure] = []
    for name in names or BENCHES:
        click.echo(f"{name}: {BENCHES[name]} …", err=True)
        for figure in importlib.import_module(f"{__name__}.{name.replace('-', '_')}").figures():
            figures.append(figure)  # as it is measured, where that takes minutes
            click.echo(line(figure), err=as_json)
    if as_json:
        click.echo(json.dumps({figure.name: figure.as_json() for figure in figures}))
    return 0 if all(figure.reached is not False for figure in figures) else 1
