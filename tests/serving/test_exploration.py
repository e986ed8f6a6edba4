"""Exploration: what it ranks by, that it can be drawn again, and how probable what came first was."""

from collections.abc import Iterator
from itertools import count

import numpy as np
import pytest
from serving_fakes import Client, FakeMirror, FakeStore, client_of, commit

from streamrec.clock import SystemClock
from streamrec.serving.api import Explore
from streamrec.serving.app import create_app
from streamrec.serving.exploration import explore
from streamrec.serving.propensity import first_propensity
from streamrec.serving.scorer import Scorer

P = np.array([0.2, 0.5, 0.5, 0.1, 1.0, 0.0, 1e-30, 1e-12, 1 - 2.0**-24], np.float32)


def ranked(policy: Explore, confidence, p=P, *, of_ratings=False, seed=0):
    scored = np.stack([p, np.full(len(p), confidence, np.float32)])
    return np.argsort(-explore(policy, scored, of_ratings, lambda: seed).key, kind="stable").tolist()


@pytest.mark.parametrize("policy", ["upper", "thompson"])
@pytest.mark.parametrize("confidence", [0.0, 3.0, np.inf])
def test_scale_0_is_greedy_to_the_last_bit(policy, confidence):
    greedy = np.argsort(-P, kind="stable").tolist()
    assert ranked(Explore(policy=policy, scale=0), confidence) == greedy


def test_the_upper_bound_is_that_of_the_log_odds():
    p, c = np.array([0.5, 0.4, 0.1], np.float32), np.array([0.1, 0.6, 5.0], np.float32)
    found = explore(Explore(policy="upper", scale=0.5), np.stack([p, c]), False, lambda: 0)
    expected = np.log(p / (1 - p)) + 0.5 * c
    np.testing.assert_allclose(found.key, expected, atol=1e-6)
    assert (found.seed, found.propensity) == (None, None)
    ratings = explore(Explore(policy="upper", scale=2.0), np.stack([p * 10, c]), True, lambda: 0)
    np.testing.assert_allclose(ratings.key, p * 10.0 + 2.0 * c, rtol=1e-6)


def test_what_is_not_known_is_tried():
    p, c = np.array([0.5, 0.2], np.float32), np.array([0.01, 5.0], np.float32)
    firsts = [
        int(np.argmax(explore(Explore(policy="thompson", seed=seed), np.stack([p, c]), False, int).key))
        for seed in range(400)
    ]
    share = np.mean(firsts)  # Φ(−ln 4 / 5) = .39
    assert share == pytest.approx(0.391, abs=0.06)
    assert explore(Explore(policy="upper"), np.stack([p, c]), False, int).key.argmax() == 1


def test_a_seed_draws_the_same_again_and_another_another():
    policy, seeds = Explore(policy="thompson"), count(1)
    scored = np.stack([P, np.ones_like(P)])
    keys = [explore(policy, scored, False, lambda: next(seeds)) for _ in range(2)]
    assert [each.seed for each in keys] == [1, 2]
    assert (keys[0].key != keys[1].key).all()
    again = explore(Explore(policy="thompson", seed=2), scored, False, lambda: next(seeds))
    assert (again.key == keys[1].key).all()


def brute(s, spread, n=200_000):
    draws = s + spread * np.random.default_rng(1).standard_normal((n, len(s)))
    return np.bincount(draws.argmax(1), minlength=len(s)) / n


@pytest.mark.parametrize(
    ("s", "spread"),
    [
        ([0.0, 0.0], [1.0, 1.0]),
        ([0.3, -0.2, 0.1, -4.0], [0.5, 1.0, 0.1, 2.0]),
        ([1.0, 0.0, 0.9], [0.0, 2.0, 0.0]),
        ([0.0, 0.0, 0.5], [3.0, 1e-6, 0.01]),
        (np.linspace(-1, 1, 40).tolist(), np.linspace(0.2, 1.0, 40).tolist()),
    ],
)
def test_the_propensity_is_the_share_of_all_seeds(s, spread):
    s, spread = np.array(s), np.array(spread)
    found = [first_propensity(s, spread, i) for i in range(len(s))]
    np.testing.assert_allclose(found, brute(s, spread), atol=0.01)
    assert sum(found) == pytest.approx(1.0, abs=0.01)


def test_without_any_spread_the_first_is_certain_and_ties_go_by_place():
    s, spread = np.array([0.5, 1.0, 1.0]), np.zeros(3)
    assert [first_propensity(s, spread, i) for i in range(3)] == [0.0, 1.0, 0.0]
    assert first_propensity(np.zeros(1), np.ones(1), 0) == pytest.approx(1.0)


# ---- over HTTP


@pytest.fixture
def client() -> Iterator[Client]:
    store = FakeStore()
    store.add(commit(1))
    scorer = Scorer(store, "m", SystemClock(), build=lambda _: FakeMirror())
    scorer.step()
    with client_of(create_app(scorer)) as client:
        yield client


BODY = {"candidates": [{"item": f"i{n}", "features": {"x": n}} for n in range(6)]}


def ask(client: Client, **explore):
    return client.post("/v1/rank", json={**BODY, "explore": explore}).json()


def test_the_answer_says_how_to_draw_it_again(client):
    answer = ask(client, policy="thompson", scale=5)
    seed = answer["explored"]["seed"]
    assert answer["explored"] == {"policy": "thompson", "scale": 5.0, "seed": seed}
    again = ask(client, policy="thompson", scale=5, seed=seed)
    assert again["items"] == answer["items"]
    orders = {
        tuple(i["item"] for i in ask(client, policy="thompson", scale=5, seed=s)["items"]) for s in range(9)
    }
    assert len(orders) > 3
    assert 0 < answer["items"][0]["propensity"] <= 1
    assert all("propensity" not in item for item in answer["items"][1:])


def test_without_it_nothing_is_said_and_scores_stay_what_the_model_predicts(client):
    plain = client.post("/v1/rank", json=BODY).json()
    assert "explored" not in plain
    by_item = {item["item"]: (item["probability"], item["confidence"]) for item in plain["items"]}
    for policy in ("upper", "thompson"):
        answer = ask(client, policy=policy)
        assert {i["item"]: (i["probability"], i["confidence"]) for i in answer["items"]} == by_item
    assert answer["explored"]["policy"] == "thompson"
    assert ask(client, policy="upper")["explored"]["seed"] is None
    empty = client.post("/v1/rank", json={"candidates": [], "explore": {"policy": "thompson"}}).json()
    assert empty["items"] == []


@pytest.mark.parametrize(
    ("explore", "said"),
    [
        ({}, "explore.policy: Field required"),
        ({"policy": "epsilon"}, "explore.policy: Input should be 'thompson' or 'upper', got 'epsilon'"),
        ({"policy": "upper", "scale": -1}, "explore.scale: "),
        ({"policy": "thompson", "seed": 2**60}, "explore.seed: "),
    ],
)
def test_bad_settings_are_told(client, explore, said):
    answer = client.post("/v1/rank", json={**BODY, "explore": explore})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(said)
