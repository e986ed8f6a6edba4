"""The kind two_tower as a whole, on streams with a planted structure."""

import json

import numpy as np
import pytest
from learned_retriever import Learned, catalogue, rating

from streamrec.errors import StoreMismatch, UsageError
from streamrec.evaluation.retrieval import Index
from streamrec.events.codec import decode_line
from streamrec.features.infer import infer_spec
from streamrec.hashing import hash_text
from streamrec.models.calibration import CalibratedModel
from streamrec.models.pipeline import Pipeline
from streamrec.models.settings import ModelSettings

GROUPS, ITEMS = 4, 12


def planted(n=3000, seed=1):
    """Users of four groups, who take items of their own group, and now and then the item that all take."""
    rng = np.random.default_rng(seed)
    for k in range(n):
        user = int(rng.integers(80))
        group = user % GROUPS
        if rng.random() < 0.1:
            yield rating(k, f"u{user}", "hit", "all")
        else:
            yield rating(k, f"u{user}", f"i{group}.{rng.integers(ITEMS)}", group)


def ids_of(*names):
    return {hash_text(name) for name in names}


@pytest.fixture(scope="module")
def learned():
    return Learned(list(planted()))


@pytest.mark.parametrize("user", ["u0", "u1", "u2", "u3"])
def test_users_find_what_their_group_takes(learned, user):
    own = ids_of("hit", *(f"i{user[1:]}.{i}" for i in range(ITEMS)))
    assert len(own & set(learned.best(user, ITEMS + 1))) >= ITEMS


def test_towers_alone_find_it_too(learned):
    query = learned.query("u1")
    index = Index.of(learned.pipeline.tables["item_vectors"])
    towers = query.vectors[0].copy()
    towers[-2:] = 0
    best = index.ids[np.argsort(-(index._rows @ towers))[:ITEMS]]
    assert len(ids_of(*(f"i1.{i}" for i in range(ITEMS))) & set(best.tolist())) >= ITEMS - 2


def test_strangers_find_what_is_popular(learned):
    assert learned.best("nobody", 1) == [hash_text("hit")]


def test_who_repeats_is_not_kept_from_it(learned):
    """Here nearly all interactions are repeats: what was seen stays in its place."""
    assert learned.query("u1").repeat == 0.0


def test_who_never_repeats_finds_the_unseen():
    lines = [rating(k, f"u{k // 20}", f"i0.{k % 20}", 0) for k in range(600)]
    learned = Learned([*lines, *(rating(1000 + k, "new", f"i0.{k}", 0) for k in range(15))])
    assert set(learned.best("new", 5)) == ids_of(*(f"i0.{k}" for k in range(15, 20)))


def test_a_cold_item_is_found_by_its_features_at_once():
    learned = Learned(list(planted()))
    learned.feed([catalogue("cold", features={"kind": "g2", "of": ["x", "w2"]})])
    index = Index.of(learned.pipeline.tables["item_vectors"])
    at = index.places(np.array([hash_text("cold")], np.uint64))[0][0]
    towers = lambda user: learned.query(user).vectors[0, :-2] @ index._rows[at, :-2]  # noqa: E731
    assert towers("u2") > max(towers(user) for user in ("u0", "u1", "u3")) + 0.5


def test_a_cold_item_is_among_the_first_for_whom_its_features_suit():
    """Of 50 items, 13 of which their group takes itself; popularity of 0 would make it the last for everybody."""
    learned = Learned(list(planted()))
    learned.feed([catalogue("cold", features={"kind": "g2", "of": ["x", "w2"]})])
    cold = hash_text("cold")
    of_group = [
        np.median([learned.best(f"u{u}", 50).index(cold) for u in range(group, 80, GROUPS)])
        for group in range(GROUPS)
    ]
    assert of_group[2] < 20
    assert min(of_group[0], of_group[1], of_group[3]) > 40


def test_a_deleted_item_stays_away_until_the_catalogue_has_it_again():
    learned = Learned(list(planted(600)))
    learned.feed([catalogue("hit", deleted=True)])
    learned.feed([rating(5000 + k, "u1", "hit", "all") for k in range(100)])
    table, hit = learned.pipeline.tables["item_vectors"], np.array([hash_text("hit")], np.uint64)
    assert not table.get(hit)[1][0]
    learned.feed([catalogue("hit", time=10**9 + 1, features={})])
    assert table.get(hit)[1][0]
    assert learned.best("nobody", 1) == [hash_text("hit")]


def test_asking_changes_nothing(learned):
    before = learned.pipeline.state_sha256()
    one, other = learned.query("u3"), learned.query("u3")
    assert one.vectors.tobytes() == other.vectors.tobytes()
    assert learned.pipeline.state_sha256() == before


def test_cut_anywhere_it_is_the_same():
    """Also where items are new up to the end: nobody knows of those that come later in a block."""
    lines = [rating(k, f"u{k % 7}", f"i{max(k - k % 4 * 9, 0)}", k % 3) for k in range(300)]
    whole, cut = Learned(lines), Learned(lines, cut=1)
    assert whole.pipeline.state_sha256() == cut.pipeline.state_sha256()


def test_the_state_of_another_version_is_refused(learned):
    blobs = {name: blob for name, blob in learned.pipeline.blobs().items() if name != "retrieval.gate"}
    with pytest.raises(StoreMismatch, match=r"expected retrieval\.gate, .* --fresh"):
        learned.pipeline.retriever.restore(blobs)


def test_wrong_rankers_are_refused():
    with pytest.raises(ValueError, match="expected a kind that ranks"):
        ModelSettings(kind="two_tower", ranker={"kind": "two_tower"})
    with pytest.raises(ValueError, match="with kind 'two_tower' only"):
        ModelSettings(kind="wide", ranker={"kind": "ftrl"})
    assert ModelSettings(kind="two_tower", task="rating").ranker.task == "rating"


def test_calibration_is_the_rankers():
    """Around the whole it would hide the retriever, and calibrate twice."""
    settings = ModelSettings.model_validate({"kind": "two_tower", "calibration": {}})
    pipeline = Pipeline(settings, infer_spec([decode_line(line.encode()) for line in planted(50)], "rich"))
    assert pipeline.retriever is not None
    assert isinstance(pipeline.model.ranker, CalibratedModel)
    assert not isinstance(pipeline.model, CalibratedModel)


@pytest.mark.parametrize("missing", ["item", "user"])
def test_both_sides_need_a_field(missing):
    event = {"type": "rating", "id": "r", "time": 0, "user": "u", "item": "i", "rating": 3}
    spec = infer_spec([decode_line(json.dumps(event).encode())], "rich")
    kept = tuple(field for field in spec.fields if (field.source == "item") == (missing == "user"))
    settings = ModelSettings(kind="two_tower", ranker={"kind": "ftrl"})
    with pytest.raises(UsageError, match=f"expected a field of the .*{missing}.*have none"):
        Pipeline(settings, spec.model_copy(update={"fields": kept, "crosses": ()}))
