"""What an interaction is compared with, and how: what the finder hands to the loss."""

import json

import numpy as np
import pytest
from learned_retriever import Learned

from streamrec.hashing import hash_text
from streamrec.layers.sampled_softmax import sampled_softmax

MICRO, DRAWN, N = 8, 12, 400


def labelled(n=N, seed=4):
    """Every second interaction is with "hit", the others with one of thirty; each has a weight of its own."""
    rng = np.random.default_rng(seed)
    for k in range(n):
        item = "hit" if k % 2 else f"i{rng.integers(30)}"
        yield {"type": "example", "id": f"e{k}", "time": 1000 * k, "user": f"u{k % 9}", "item": item} | {
            "label": 1,
            "weight": 0.5 + k % 7,
            "features": {},
        }


@pytest.fixture
def steps(monkeypatch):
    """All calls of the loss, while the stream was learned."""
    calls = []

    def noted(scores, own, softmax, **options):
        assert options.get("ids") is None
        calls.append((scores, own, softmax, options))
        return sampled_softmax(scores, own, softmax, **options)

    monkeypatch.setattr("streamrec.models.retrieval.finder.sampled_softmax", noted)
    negatives = {"drawn": DRAWN, "hardest": 3, "kept": 100, "gap_rate": 0.2}
    Learned([json.dumps(event) for event in labelled()], micro_batch=MICRO, negatives=negatives)
    return calls


def test_every_item_is_one_column_so_there_are_no_accidental_hits(steps):
    events = list(labelled())
    for step, (scores, own, _, _) in enumerate(steps, 1):  # the first micro-batch has nothing to compare with
        items = [hash_text(event["item"]) for event in events[MICRO * step : MICRO * (step + 1)]]
        assert len(np.unique(own)) == len(set(items))
        assert (
            np.unique(items, return_inverse=True)[1].tolist()
            == np.unique(own, return_inverse=True)[1].tolist()
        )
        assert len(set(items)) <= scores.shape[1] <= MICRO + DRAWN
    assert max(scores.shape[1] for scores, *_ in steps) > MICRO  # others are drawn, too


def test_weights_and_the_hardest_are_passed_on(steps):
    weights = np.concatenate([options["weights"] for *_, options in steps])
    assert weights.tolist() == [event["weight"] for event in labelled()][MICRO:]
    assert all(softmax.hardest == 3 for _, _, softmax, _ in steps)


def test_q_is_the_probability_to_be_in_the_sample_and_does_not_saturate(steps):
    """Half of all interactions are with one item: it is in each sample, nearly surely; the others seldom."""
    hit_q, other_q = [], []
    for _, own, _, options in steps[20:]:
        q = np.exp(options["log_q"])
        assert ((q > 0) & (q <= 1)).all()
        hit_q.append(q[own[1]])
        other_q.extend(q[own[::2]])
    assert np.mean(hit_q) > 0.999
    gap = 60  # interactions from one of its own to the next
    assert np.median(other_q) == pytest.approx(1 - np.exp(-(MICRO + DRAWN) / gap), rel=0.35)
