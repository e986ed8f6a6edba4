"""Strengths of pairs of fields, from models that learned a planted interaction."""

import json

import numpy as np
import pytest

from streamrec.errors import UsageError
from streamrec.evaluation.crosses import CrossStrengths, learned_strengths, needs_examples
from streamrec.evaluation.heat_map import draw_heat_map
from streamrec.events.decoder import BlockDecoder
from streamrec.features.spec import Cross, FeatureSpec, Field
from streamrec.models.pipeline import Pipeline
from streamrec.models.settings import ModelSettings

FIELDS = ("a", "b", "c", "d")


def lines(n=2_000):
    """Examples whose label is whether a and b agree; c and d say nothing."""
    rng = np.random.default_rng(4)
    for i, values in enumerate(rng.integers(0, 3, (n, 4)).tolist()):
        features = {name: f"{name}{value}" for name, value in zip(FIELDS, values, strict=True)}
        event = {
            "type": "example",
            "id": f"e{i}",
            "time": 1_700_000_000_000 + i,
            "label": int(values[0] == values[1]),
        }
        yield json.dumps({**event, "features": features})


def learned(kind, crosses=(), **settings):
    """(pipeline, a batch of its examples)."""
    spec = FeatureSpec(
        fields=tuple(Field(name=name, kind="category") for name in FIELDS),
        crosses=tuple(Cross(fields=pair) for pair in crosses),
    )
    pipeline, decoder = Pipeline(ModelSettings(kind=kind, **settings), spec), BlockDecoder()
    block, _ = decoder.decode("\n".join(lines()).encode() + b"\n")
    batch = pipeline.preview(block, decoder.fields)
    pipeline.model.learn(batch)
    return pipeline, batch


ALL_PAIRS = [(a, b) for i, a in enumerate(FIELDS) for b in FIELDS[i + 1 :]]


def test_of_a_linear_model_the_planted_cross_is_on_top():
    pipeline, batch = learned("wide", ALL_PAIRS)
    assert needs_examples(pipeline)
    pairs = learned_strengths(pipeline, [batch.part(0, 1_000), batch.part(1_000, 2_000)]).pairs()
    assert {*pairs[0][:2]} == {"a", "b"}
    assert pairs[0][2] > 5 * pairs[1][2]


def test_of_a_linear_model_it_is_what_a_cross_adds():
    """What the cross says in every example, from predictions with and without it."""
    pipeline, batch = learned("ftrl", [("a", "b")])
    batch = batch.part(0, 200)
    with_it, bags = pipeline.model.predict(batch).astype(np.float64), batch.offsets
    gone = np.array([bags[b * 5 + 4] for b in range(200)])  # one id a bag, the cross is the fifth
    batch.values[gone] = 0.0
    without = pipeline.model.predict(batch).astype(np.float64)
    batch.values[gone] = 1.0
    added = np.log(with_it / (1 - with_it)) - np.log(without / (1 - without))
    strengths = learned_strengths(pipeline, [batch])
    assert strengths.fields == ["a", "b"]
    assert strengths.strength[0, 1] == pytest.approx(np.sqrt((added**2).mean()), rel=1e-4)


def test_a_cross_of_three_counts_for_each_pair_of_it():
    pipeline, batch = learned("ftrl", [("a", "b", "c"), ("c", "d")])
    strengths = learned_strengths(pipeline, [batch])
    by_pair = {pair[:2]: pair[2] for pair in strengths.pairs()}
    assert set(by_pair) == {("a", "b"), ("a", "c"), ("b", "c"), ("c", "d")}
    assert by_pair["a", "b"] == by_pair["a", "c"] == by_pair["b", "c"] > 0


@pytest.mark.parametrize("kind", ["dcn", "dcn_v1"])
def test_of_cross_layers_with_or_without_examples(kind):
    pipeline, batch = learned(kind)
    assert not needs_examples(pipeline)
    kernel, added = learned_strengths(pipeline), learned_strengths(pipeline, [batch])
    assert list(kernel.fields) == list(added.fields) == list(FIELDS)
    for strengths in (kernel, added):
        np.testing.assert_allclose(strengths.strength, strengths.strength.T, rtol=1e-12)
        assert len(strengths.pairs()) == 6
    if kind == "dcn":  # version 1 has one weight an input: no pair of its own
        assert {*added.pairs()[0][:2]} == {"a", "b"}


def test_of_models_made_of_parts():
    """Cross layers where there are some, else the linear part's crosses."""
    pipeline, batch = learned("wide_deep", [("c", "d")])
    assert {*learned_strengths(pipeline, [batch]).pairs()[0][:2]} == {"a", "b"}
    pipeline, batch = learned("blend", [("a", "b"), ("c", "d")], blend={"parts": ["wide", "dlrm"]})
    assert needs_examples(pipeline)
    assert learned_strengths(pipeline, [batch]).pairs()[0][:2] == ("a", "b")
    pipeline, batch = learned("blend", blend={"parts": ["wide", "dcn"]})
    assert {*learned_strengths(pipeline, [batch]).pairs()[0][:2]} == {"a", "b"}


def test_of_a_low_rank_kernel_it_is_the_product():
    pipeline, _ = learned("dcn", deep={"rank": 3, "crosses": 1})
    u, v = (pipeline.model.part.dense_parameters[f"interaction.0.kernel_{name}"] for name in "uv")
    squares = np.square((u @ v).astype(np.float64))
    at_ab = squares[:16, 16:32].sum() + squares[16:32, :16].sum()
    assert learned_strengths(pipeline).strength[0, 1] == pytest.approx(np.sqrt(at_ab), rel=1e-5)


def test_models_without_crosses_say_so():
    for kind in ("ftrl", "dlrm"):
        with pytest.raises(UsageError, match=f"^a model of kind {kind} .* has none to show: .*"):
            needs_examples(learned(kind)[0])
    with pytest.raises(UsageError, match=r"expected an impression, rating or example"):
        learned_strengths(learned("ftrl", [("a", "b")])[0])


@pytest.mark.parametrize("n", [1, 2, 18])
def test_heat_maps_of_any_size_are_drawn(n, tmp_path):
    strength = np.abs(np.random.default_rng(n).standard_normal((n, n)))
    strengths = CrossStrengths("size", [f"field {i}" for i in range(n)], strength + strength.T)
    draw_heat_map(tmp_path / "map.png", strengths.fields, strengths.strength, "title", strengths.measure)
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="there is no folder"):
        draw_heat_map(tmp_path / "no" / "map.png", strengths.fields, strengths.strength, "title", "size")
