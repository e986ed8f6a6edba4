"""Progressive shares of retrieval against a model that is learned anew up to each question."""

import json

import numpy as np
import pytest

from streamrec.clock import SystemClock
from streamrec.evaluation.retrieval import NOWHERE, Index, ranks
from streamrec.hashing import hash_text
from streamrec.join.gather import concatenated, part
from streamrec.learner.foresight import Foresight, interactions
from streamrec.learner.holdout import Holdout, evaluate, recorded
from streamrec.learner.start import Plan
from streamrec.models.settings import ModelSettings
from streamrec.transport.registry import open_source

EVERY = 7


def lines(n=120, seed=3):
    """Ratings of 30 items, unclicked impressions between them, and one item that is taken out for good."""
    rng = np.random.default_rng(seed)
    for k in range(n):
        event = {
            "time": 1000 * k,
            "user": f"u{rng.integers(6)}",
            "item": f"i{rng.integers(30)}",
            "features": {},
        }
        yield {"type": "rating", "id": f"r{k}", "rating": 4, **event}
        if k % 3 == 0:
            yield {"type": "impression", "id": f"s{k}", **event}
        if k == n // 2:
            yield {"type": "item", "id": "i3", "time": 1000 * k, "deleted": True}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("foresight") / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in lines()))
    retrieval = {"micro_batch": 4, "towers": {"width": 4, "units": 4, "query": ()}}
    model = {"kind": "two_tower", "ranker": {"kind": "ftrl"}, "retrieval": retrieval}
    source = open_source(str(path))
    made = recorded(Plan(fresh=True, model=ModelSettings.model_validate(model)), source, SystemClock())
    source.close()
    return made


def foreseen(recording, blocks, every=EVERY):
    items = np.unique(np.concatenate([block.item for block in blocks]))
    made = recording.anew()
    foresight = Foresight(made.pipeline, made.fields, items, every)
    for block in blocks:
        foresight.learn(block)
    return made.pipeline, foresight.found


def test_each_is_asked_for_when_all_before_it_are_learned_and_nothing_else(recording):
    whole = concatenated(recording.blocks)
    at = np.flatnonzero(interactions(whole))
    _, found = foreseen(recording, [part(whole, 0, 50), part(whole, 50, len(whole))])
    for column, k in zip(found.T, at[EVERY::EVERY].tolist(), strict=True):
        anew = recording.anew()
        anew.pipeline.learn(part(whole, 0, k), anew.fields)
        before = part(whole, 0, k)
        mine = interactions(before) & (before.user == whole.user[k])
        taken = {int(whole.user[k]): np.unique(before.item[mine])}
        asked = anew.pipeline.extractor.preview(part(whole, k, k + 1), anew.fields)
        index = Index.of(anew.pipeline.tables["item_vectors"])
        assert column.tolist() == ranks(anew.pipeline.retriever, index, asked, taken)[:, 0].tolist()
    assert (found[0] != NOWHERE).any()


def test_asking_changes_nothing(recording):
    asked, _ = foreseen(recording, recording.blocks)
    silent = recording.anew()
    for block in recording.blocks:
        silent.pipeline.learn(block, silent.fields)
    assert asked.state_sha256() == silent.pipeline.state_sha256()


def test_what_was_taken_out_is_not_found(recording):
    blocks, gone = recording.blocks, hash_text("i3")
    _, found = foreseen(recording, blocks, every=1)
    whole = concatenated(blocks)
    own = np.flatnonzero(interactions(whole))[1:]
    late = (whole.item[own] == gone) & (whole.time_ms[own] > 61_000)
    assert late.any()
    assert (found[:, late] == NOWHERE).all()


def test_an_evaluation_tells_it_of_the_first_epoch(recording):
    once, twice = (evaluate(recording.anew(), Holdout(0.3, epochs=n, every=5)) for n in (1, 2))
    told = [key for key in once if key.startswith("progressive_")]
    assert len(told) == 10
    assert [once[key] for key in told] == [twice[key] for key in told]
    assert once["asked"] == (once["learned"] - 1) // 5
    assert not any(key.startswith("progressive_") for key in evaluate(recording.anew(), Holdout(0.3)))
