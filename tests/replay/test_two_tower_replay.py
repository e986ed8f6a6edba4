"""What a scorer asks the index for is what the learner would, to the last bit, also between micro-batches."""

import numpy as np
from replay_runs import learn, new_store
from replay_streams import mixed_lines

from streamrec.clock import SystemClock
from streamrec.index.item_index import ItemIndex
from streamrec.index.settings import IndexSettings
from streamrec.join.settings import JoinSettings
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan
from streamrec.models.settings import ModelSettings
from streamrec.serving.scorer import Scorer

LINE = (
    b'{"type":"example","id":"%s","time":1700000500000,"user":"%s","item":"i3","label":0,'
    b'"features":{"topic":"t1","age":%d}}\n'
)


def test_a_scorer_that_follows_asks_what_the_learner_would(tmp_path):
    stream = tmp_path / "events.jsonl"
    stream.write_text("".join(line + "\n" for line in mixed_lines(1200, seed=5)))
    plan = Plan(
        model=ModelSettings(kind="two_tower", ranker={"kind": "ftrl"}, retrieval={"micro_batch": 16}),
        join=JoinSettings(window_ms=60_000, memory_events=2000, late_ms=0),
        learner=LearnerSettings(commit_interval_s=0.001),
    )
    store, vectors = new_store(), set()
    scorer = Scorer(store, plan.name, SystemClock())
    lines = b"".join(LINE % (user, user, n) for n, user in enumerate((b"u3", b"u11", b"nobody")))
    for limit in (500, 507, 1100):
        pipeline = learn(stream, plan, store, limit, finish=False).parts.pipeline
        while scorer.generation is None or scorer.generation.version != tuple(store.head(plan.name)):
            scorer.step()
        with scorer.retrieving() as (mirror, _, items):
            its, ours = mirror.query_lines(lines), pipeline.query_lines(lines)
            for one, other in zip(
                (its.vectors, *its.seen, *(array for b in its.boosted for array in b)),
                (ours.vectors, *ours.seen, *(array for b in ours.boosted for array in b)),
                strict=True,
            ):
                assert one.tobytes() == other.tobytes()
            assert its.repeat == ours.repeat
            table = pipeline.tables["item_vectors"]
            ids, rows = (np.concatenate(parts) for parts in zip(*table.pieces(), strict=True))
            learned = ItemIndex(IndexSettings(dim=table.width))
            learned.update(ids, rows, ids[:0])
            assert len(items) == len(ids)
            for vector in ours.vectors:
                same = (index.score(vector, ids).scores.tobytes() for index in (items.index, learned))
                assert next(same) == next(same)
        vectors.add(ours.vectors.tobytes())
        assert len(ours.seen[0])
        assert not len(ours.seen[2])
    assert len(vectors) > 1
    assert np.isfinite(ours.vectors).all()
