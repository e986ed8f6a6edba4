"""On published recordings a blend is never worse than its best part by more than a thousandth of its NE."""

import os
from itertools import islice
from pathlib import Path

import pytest

from streamrec.clock import SystemClock
from streamrec.datasets.registry import convert
from streamrec.learner.start import Plan, start
from streamrec.models.settings import ModelSettings
from streamrec.store.memory import MemoryStore
from streamrec.transport.registry import open_source
from streamrec.transport.writer import write_stream

_DATA = Path(os.environ.get("STREAMREC_DATA") or Path(__file__).parents[2] / "../shared/data")
_N = 25_000  # events of each recording: enough to tell parts apart, few enough to take seconds


@pytest.mark.parametrize(
    ("name", "folder"), [("movielens", "movielens-latest-small"), ("mind", "mind-small-5k")]
)
def test_as_good_as_the_best_part(name: str, folder: str, tmp_path: Path) -> None:
    if not (_DATA / folder).is_dir():
        pytest.skip(f"no {folder} in STREAMREC_DATA ({_DATA})")
    path = tmp_path / "events.jsonl"
    with write_stream(path) as stream:
        stream.writelines(islice(convert(name, _DATA / folder), _N))
    parts = [{"kind": "wide", "ftrl": {"learning_rate": rate}} for rate in (0.02, 0.1, 2.0)]
    alone = [_ne(path, part) for part in parts]
    blended = _ne(path, {"kind": "blend", "blend": {"parts": parts}})
    assert blended < 1.001 * min(alone)
    assert max(alone) > 1.02 * min(alone)  # there was something to lose


def _ne(path: Path, settings: dict[str, object]) -> float:
    plan = Plan(fresh=True, model=ModelSettings.model_validate(settings))
    started = start(plan, open_source(str(path)), MemoryStore(), SystemClock())
    started.learner.run()
    return float(started.parts.measures.result()["ne"])
