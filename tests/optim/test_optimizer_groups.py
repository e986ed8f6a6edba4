"""A choice of optimizers by group: complete, without overlap, and without patterns that mean nothing."""

import pytest

from streamrec.optim.groups import OptimizerGroup, optimizers_by_name
from streamrec.optim.registry import optimizer_settings

NAMES = ["embeddings", "cross_0/kernel", "cross_0/bias", "top_0/kernel", "top_0/bias"]


def group(optimizer, *parameters):
    return OptimizerGroup(parameters=parameters, optimizer=optimizer)


def test_every_parameter_has_the_optimizer_of_its_group():
    groups = [
        group({"name": "adagrad", "learning_rate": 0.25}, "embed*"),
        group("adam", "cross_?/*", "top_0/kernel"),
        group("momentum", "top_0/b*"),
    ]
    chosen = optimizers_by_name(groups, NAMES)
    assert [*chosen] == NAMES
    assert [s.name for s in chosen.values()] == ["adagrad", "adam", "adam", "adam", "momentum"]
    assert chosen["embeddings"] == optimizer_settings({"name": "adagrad", "learning_rate": 0.25})


def test_one_group_of_all():
    assert {s.name for s in optimizers_by_name([group("ftrl", "*")], NAMES).values()} == {"ftrl"}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([], "expected parameter 'embeddings' in one group, got none; add it to one"),
        (
            [group("adam", "cross*", "embeddings", "*kernel")],
            "expected parameter 'top_0/bias' in one group, got none; add it to one",
        ),
        (
            [group("adam", "*"), group("ftrl", "cross*"), group("ftrl", "*/bias")],
            "expected parameter 'cross_0/kernel' in one group, got 1 and 2; narrow one",
        ),
        (
            [group("adam", "*"), group("ftrl", "Cross*")],
            r"no parameter is called 'Cross\*'; there are embeddings, .*, top_0/bias",
        ),
    ],
)
def test_gaps_overlap_and_idle_patterns_are_one_line(groups, message):
    with pytest.raises(ValueError, match=f"^optimizers: {message}$"):
        optimizers_by_name(groups, NAMES)


def test_a_group_of_nothing_is_refused():
    with pytest.raises(ValueError, match="parameters"):
        OptimizerGroup(parameters=(), optimizer="adam")
    with pytest.raises(ValueError, match="optimizer: expected one of adagrad"):
        OptimizerGroup(parameters=("*",), optimizer="sgd")
