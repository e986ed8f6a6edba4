"""A calibrated model through the whole learner: resumed, served and explained like any other."""

from pathlib import Path

import numpy as np
import pytest
from replay_runs import learn, new_store, outcome
from replay_streams import write_stream

from streamrec.clock import SystemClock
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan
from streamrec.models.calibration import TABLE
from streamrec.models.settings import ModelSettings
from streamrec.serving.scorer import Scorer


@pytest.mark.parametrize("kind", ["ftrl", "wide"])
def test_it_is_part_of_every_commit_and_of_what_is_served(kind: str, tmp_path: Path) -> None:
    stream = write_stream(tmp_path / "stream.jsonl", 1000)
    model = ModelSettings.model_validate({"kind": kind, "calibration": {"by": "topic", "precision": 1}})
    plan, store = Plan(model=model, learner=LearnerSettings(commit_interval_s=0.001)), new_store()
    undisturbed = learn(stream, plan, new_store(), chunk_bytes=7_000)
    scorer = Scorer(store, "default", SystemClock())
    for limit in (217, 600):
        learn(stream, plan, store, limit)
        scorer.step()
    resumed = learn(stream, plan, store)
    assert outcome(resumed) == outcome(undisturbed)
    assert len(undisturbed.parts.pipeline.tables[TABLE]) == 8  # topics
    for _ in range(3):
        scorer.step()
    lines = b"".join(
        b'{"type":"example","id":"%d","time":1700000000000,"label":0,"features":{"topic":"t%d"}}\n' % (i, i)
        for i in range(12)
    )
    with scorer.reading() as (mirror, _):
        served = mirror.score_lines(lines)
    np.testing.assert_array_equal(served, undisturbed.parts.pipeline.score_lines(lines))
    plain = learn(stream, Plan(model=ModelSettings(kind=kind)), new_store()).parts.pipeline
    assert (plain.score_lines(lines)[0] != served[0]).any()
    linear = [p.parts.pipeline.tables["linear"].digest() for p in (undisturbed, resumed)]
    assert linear == [plain.tables["linear"].digest()] * 2  # the model below learns as if there were no layer
