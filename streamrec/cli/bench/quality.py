"""Progressive log loss without any configuration on recorded streams, beside Vowpal Wabbit's with its
settings swept.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from streamrec.cli.bench.figure import Figure
from streamrec.cli.bench.learned import metrics

__all__ = ["figures"]

#: Data set → its folder in STREAMREC_DATA, and Vowpal Wabbit's log loss there (that folder's README says how
#: it was tuned).
_SETS = {"movielens": ("movielens-latest-small", 0.55495), "mind": ("mind-small-5k", 0.1568)}


def figures() -> list[Figure]:
    """Needs STREAMREC_DATA; sets that are not there are left out, and said so."""
    data = Path(os.environ.get("STREAMREC_DATA") or "../shared/data")
    figures = []
    for name, (folder, tuned) in _SETS.items():
        if not (data / folder).is_dir():
            click.echo(f"  {name}: not measured, no {folder} in STREAMREC_DATA ({data})", err=True)
            continue
        value = _log_loss(name, data / folder)
        figures.append(Figure(f"log loss, {name}", value, "nats", tuned, "tuned Vowpal Wabbit", (None, 1.0)))
    return figures


def _log_loss(name: str, folder: Path) -> float:
    from streamrec.datasets.registry import convert
    from streamrec.learner.start import Plan
    from streamrec.transport.writer import write_stream

    with TemporaryDirectory(prefix="streamrec-bench-") as place:
        path = Path(place, "events.jsonl")
        with write_stream(path) as stream:
            stream.writelines(convert(name, folder))
        return float(metrics(path, Plan(fresh=True))["log_loss"])
