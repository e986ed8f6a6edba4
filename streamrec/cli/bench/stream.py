"""The recorded stream that the speed benchmarks share, in our form and in Vowpal Wabbit's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

import numpy as np

__all__ = ["N_EVENTS", "N_FIELDS", "Streams", "streams", "vowpal_wabbit_rate"]

N_EVENTS, N_FIELDS = 300_000, 20
_SEED = 7
_DISTINCT = (
    50_000  # values of a field; drawn with density ~ x^(−2/3), so that some are frequent and most are rare
)


class Streams(NamedTuple):
    """The same events twice."""

    jsonl: Path
    vw: Path


@contextmanager
def streams(n_events: int = N_EVENTS) -> Iterator[Streams]:
    """Write both files; they are in the page cache afterwards."""
    rng = np.random.default_rng(_SEED)
    values = (rng.random((n_events, N_FIELDS)) ** 3 * _DISTINCT).astype(int)
    labels = (rng.random(n_events) < 0.2).astype(int)
    with TemporaryDirectory(prefix="streamrec-bench-") as folder:
        made = Streams(Path(folder, "events.jsonl"), Path(folder, "events.vw"))
        with made.jsonl.open("w") as jsonl, made.vw.open("w") as vw:
            for i, (row, label) in enumerate(zip(values.tolist(), labels.tolist(), strict=True)):
                features = ",".join(f'"f{f}":"v{value}"' for f, value in enumerate(row))
                jsonl.write(
                    f'{{"type":"example","id":"e{i}","time":{1_700_000_000_000 + i},"label":{label},'
                    f'"features":{{{features}}}}}\n'
                )
                vw.write(
                    f"{2 * label - 1} | " + " ".join(f"f{f}=v{value}" for f, value in enumerate(row)) + "\n"
                )
        yield made


def vowpal_wabbit_rate(path: Path, n_events: int, bits: int = 22, runs: int = 3) -> float:
    """Examples/s of Vowpal Wabbit's own file driver with `--ftrl`, predictions written; best of the runs."""
    from vowpalwabbit import Workspace

    learner = "--ftrl --ftrl_alpha 0.1 --ftrl_beta 1 --loss_function logistic"
    options = f"{learner} -b {bits} --quiet -p {path}.predictions"
    best = 0.0
    for _ in range(runs):
        start = perf_counter()
        Workspace(f"{options} -d {path}").finish()
        best = max(best, n_events / (perf_counter() - start))
    return best
