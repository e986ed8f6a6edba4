"""What a scorer finds while items and users expire: those of the commit that it has come to, and no others."""

import numpy as np
from test_lifetimes import HOUR, SMALL, START, ids_in, lines_of, passing
from test_two_tower import Learned

from streamrec.clock import SystemClock
from streamrec.hashing import hash_text
from streamrec.serving.retrieval_api import RetrieveRequest
from streamrec.serving.retrieve import retrieve
from streamrec.serving.scorer import Scorer
from streamrec.store.base import Commit
from streamrec.store.memory import MemoryStore


def found_by(scorer, user):
    request = RetrieveRequest.model_validate({"user": user, "k": 1000, "time": START + 200 * HOUR})
    return {item["item"] for item in retrieve(request, scorer, 0)["items"]}


def test_an_item_is_found_until_the_commit_in_which_it_expires():
    lines, store = lines_of(passing()), MemoryStore("expiring")
    lease, scorer = store.acquire("m"), Scorer(store, "m", SystemClock())
    learned = Learned(lines[:60], **SMALL)
    pipeline, found = learned.pipeline, []
    for seq, start in enumerate(range(60, len(lines), 24), 1):
        blobs = {"model": pipeline.describe(), **pipeline.blobs()}
        lease.commit(Commit(seq, pipeline.take_changed(), blobs, seq))
        while scorer.generation is None or scorer.generation.version.seq < seq:
            scorer.step()
        found.append(found_by(scorer, f"u{start // 40}"))
        assert {hash_text(name) for name in found[-1]} == ids_in(pipeline.tables["item_vectors"])
        with scorer.retrieving() as (mirror, _, items):
            line = b'{"type":"example","id":"q","time":1700500000000,"user":"u4","label":0,"features":{}}\n'
            its, ours = mirror.query_lines(line), pipeline.query_lines(line)
            assert its.vectors.tobytes() == ours.vectors.tobytes()
            assert np.array_equal(its.boosted[0].ids, ours.boosted[0].ids)
            assert np.array_equal(its.seen[0], ours.seen[0])
            assert len(items.attributes) == len(pipeline.tables["item_named"])
            assert not len(mirror.tables["item_met"])  # the learner's own
        learned.feed(lines[start : start + 24])
    assert scorer.n_loads == 1  # all the others were followed
    assert "i2" in found[0]
    assert "i2" not in found[-1]
    assert any("once" in names for names in found)
    assert "once" not in found[-1]
    assert all("kept" in names for names in found)
    store.close()
