"""Every kind through the whole learner: the same bits however the stream is cut, stopped or scored."""

import random
from pathlib import Path

import pytest
from replay_runs import learn, new_store, outcome
from replay_streams import mixed_lines

from streamrec.clock import SystemClock
from streamrec.join import JoinSettings
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan
from streamrec.models.registry import KINDS
from streamrec.models.settings import ModelSettings
from streamrec.serving.scorer import Scorer

N = 1500
WINDOW_MS = 60_000
#: 7 divides no block: examples wait at most commits.
MICRO_BATCHES = (1, 7)


def plan_of(kind: str, micro_batch: int, **model) -> Plan:
    return Plan(
        model=ModelSettings(kind=kind, deep={"micro_batch": micro_batch}, **model),
        join=JoinSettings(window_ms=WINDOW_MS, memory_events=2000, late_ms=0),
        learner=LearnerSettings(commit_interval_s=0.001),
    )


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kinds") / "events.jsonl"
    path.write_text("".join(line + "\n" for line in mixed_lines(N, seed=5)))
    return path


CASES = [(kind, size) for kind in KINDS if kind not in ("ftrl", "wide") for size in MICRO_BATCHES]


@pytest.mark.parametrize(("kind", "micro_batch"), CASES)
def test_stopped_and_cut_anywhere_it_ends_as_if_nothing_had_happened(kind, micro_batch, stream):
    plan, store = plan_of(kind, micro_batch), new_store()
    undisturbed = learn(stream, plan, new_store())
    for limit in sorted(random.Random(kind).sample(range(1, N), 3)):
        stopped = learn(stream, plan, store, limit, chunk_bytes=9_000)
    assert stopped.parts.pipeline.state_sha256() != undisturbed.parts.pipeline.state_sha256()
    assert outcome(learn(stream, plan, store)) == outcome(undisturbed)
    assert outcome(undisturbed)["examples"] > N / 3


@pytest.mark.parametrize("kind", ["ftrl", "dcn"])
def test_expiring_rows_go_at_the_same_place_of_the_stream(kind, stream):
    admission = {"policy": "count"}
    plan, store = plan_of(kind, 7, expire_after_s=120.0, admission=admission), new_store()
    undisturbed = learn(stream, plan, new_store())
    for limit in (400, 403):
        learn(stream, plan, store, limit, chunk_bytes=20_000)
    assert outcome(learn(stream, plan, store)) == outcome(undisturbed)
    forever = learn(stream, plan_of(kind, 7, admission=admission), new_store())
    assert outcome(undisturbed)["weights"] < outcome(forever)["weights"]


@pytest.mark.parametrize("kind", ["dcn", "fm"])
def test_a_scorer_that_follows_has_the_learners_bits(kind, stream):
    """Also between micro-batches, and for ids that nobody has seen."""
    plan, store = plan_of(kind, 7), new_store()
    scorer = Scorer(store, plan.name, SystemClock())
    line = b'{"type":"example","id":"x","time":1700000500000,"user":"u3","item":"%s","label":0,'
    lines = b"".join(
        line % item + b'"features":{"topic":"t1","age":%d}}\n' % n for n, item in enumerate((b"i9", b"new"))
    )
    seen = set()
    for limit in (700, 707, 1200):
        pipeline = learn(stream, plan, store, limit, finish=False).parts.pipeline
        while scorer.generation is None or scorer.generation.version != tuple(store.head(plan.name)):
            scorer.step()
        with scorer.reading() as (mirror, _):
            assert mirror.score_lines(lines).tobytes() == pipeline.score_lines(lines).tobytes()
        seen.add(pipeline.score_lines(lines)[0, 0])
    assert len(seen) == 3
