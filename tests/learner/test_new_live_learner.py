"""A new learner of impressions and clicks: for a window all final labels are clicks, and learning goes on.

Its metrics are right meanwhile.
"""

import json

import numpy as np
import pytest

from streamrec.clock import SystemClock
from streamrec.evaluation.guard_settings import GuardSettings
from streamrec.learner.start import Plan, start
from streamrec.models.settings import ModelSettings
from streamrec.store.memory import MemoryStore
from streamrec.transport.registry import open_source

START_MS, N_EVENTS, CLICKED_AFTER = 1_700_000_000_000, 25_000, 500


def lines(rng: np.random.Generator):
    """A fifth of what is shown is clicked half a second later; the whole is shorter than the window."""
    clicked: list[int] = []
    for i in range(N_EVENTS):
        if clicked and clicked[0] <= i - CLICKED_AFTER:
            n = clicked.pop(0)
            yield f'{{"type":"click","id":"c{n}","time":{START_MS + i},"impression":"i{n}"}}\n'
            continue
        what = f'"user":"u{rng.integers(50)}","item":"a","features":{{}}'
        yield f'{{"type":"impression","id":"i{i}","time":{START_MS + i},{what}}}\n'
        if rng.random() < 0.2:
            clicked.append(i)


def measured_alone(predictions) -> list[float]:
    """Of the predictions and final labels that were written: n, log loss, base rate, calibration, RMSE."""
    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    p, y = (np.array([np.float32(row[name]) for row in rows], float) for name in ("prediction", "label"))
    loss = -y * np.log(p) - (1 - y) * np.log1p(-p)
    return [len(rows), loss.mean(), y.mean(), p.sum() / y.sum(), ((p - y) ** 2).mean() ** 0.5]


def test_is_not_cut_off_and_its_metrics_are_right_from_the_beginning(tmp_path) -> None:
    """After 5 s and after 20 s of its first window; and at the end, when all labels are final."""
    stream = tmp_path / "events.jsonl"
    stream.write_text("".join(lines(np.random.default_rng(1))))
    plan = Plan(
        model=ModelSettings(kind="ftrl"),
        guards=GuardSettings(block=100),
        slices="item",
        predictions=tmp_path / "predictions.jsonl",
    )
    store = MemoryStore("new-live")
    for limit in (5000, 20_000, None):  # each goes on from the commit of the one before
        started = start(plan, open_source(str(stream)), store, SystemClock())
        started.learner.run(limit=limit, finish=limit is None)
        started.parts.source.close()
        started.parts.close()
        told = json.loads(store.load(plan.name).blobs["metrics"])
        (of_item,) = started.parts.measures.slices.top()
        for part in (told, told["recent"], of_item._asdict()):
            assert part["base_rate"] == pytest.approx(0.2, rel=0.15)
            assert part["calibration"] == pytest.approx(1, rel=0.1)
            assert part["ne"] == pytest.approx(1, rel=0.1)
        assert told["auc"] == pytest.approx(0.5, abs=0.05)
        assert told["examples"] == of_item.examples == started.parts.measures.guards.n
    guards, shown = started.parts.measures.guards, stream.read_text().count('{"type":"impression"')
    assert guards.n == shown
    assert measured_alone(plan.predictions) == pytest.approx(
        [shown, *(told[name] for name in ("log_loss", "base_rate", "calibration", "rmse"))], rel=1e-11
    )
    assert guards.trouble == ""
