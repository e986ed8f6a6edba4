"""Every policy of feedback through the whole learner: crashes, topics of examples, calibration, served scores."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from replay_runs import learn, new_store, outcome
from replay_streams import mixed_lines

from streamrec.clock import SystemClock
from streamrec.errors import StoreMismatch
from streamrec.events.codec import decode_line
from streamrec.events.decoder import BlockDecoder
from streamrec.features.infer import infer_spec
from streamrec.hashing import hash_text
from streamrec.join import Joiner, JoinSettings
from streamrec.join.decode import decode_chunk
from streamrec.join.lines import carrying_lines, example_lines
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan
from streamrec.models.settings import ModelSettings
from streamrec.serving.scorer import Scorer
from streamrec.transport.registry import open_source

WINDOW_MS = 60_000
N = 5000
CHOICES = {
    "early": ({}, {}),
    "early, plain": ({"late_ms": 0}, {"policy": "plain"}),
    "early, calibrated": ({"late_ms": 0}, {"policy": "fn_calibrated"}),
    "late": ({"feedback": "wait", "late_ms": WINDOW_MS}, {}),
    "wait": ({"feedback": "wait", "late_ms": 0, "arrivals": True}, {}),
    "sampled by weight": ({"negative_rate": 0.3}, {}),
    "sampled, corrected": ({"negative_rate": 0.3, "arrivals": True}, {"negative_rate": 0.3}),
}


def plan_of(choice: str, **more) -> Plan:
    join, feedback = CHOICES[choice]
    return Plan(
        model=ModelSettings(feedback=feedback),
        join=JoinSettings(**{"window_ms": WINDOW_MS, "memory_events": 2000, **join}),
        learner=LearnerSettings(commit_interval_s=0.001),
        **more,
    )


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return mixed_lines(N, seed=3)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> Path:
    path = tmp_path_factory.mktemp("feedback") / "events.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    return path


@pytest.mark.parametrize("choice", CHOICES)
def test_stopped_anywhere_it_ends_as_if_nothing_had_happened(choice, stream, tmp_path):
    """Model, metrics and predictions; what waits for its label is in the commit."""
    undisturbed = learn(stream, plan_of(choice, predictions=tmp_path / "calm.jsonl"), new_store())
    plan, store = plan_of(choice, predictions=tmp_path / "stopped.jsonl"), new_store()
    waited = 0
    for limit in sorted(random.Random(choice).sample(range(1, N), 5)):
        waited = max(waited, len(learn(stream, plan, store, limit).parts.arrivals))
    assert outcome(learn(stream, plan, store)) == outcome(undisturbed)
    assert (tmp_path / "stopped.jsonl").read_bytes() == (tmp_path / "calm.jsonl").read_bytes()
    assert waited > 10
    assert len(undisturbed.parts.arrivals) == 0
    assert outcome(undisturbed)["examples"] > N / 3


def as_examples(path: Path, target: Path, settings: JoinSettings) -> None:
    """What a join worker writes."""
    source, decoder, joiner = open_source(str(path)), BlockDecoder(), Joiner(settings)
    with target.open("wb") as file:

        def write(joined):
            file.writelines(line + b"\n" for line in example_lines(joined.examples))

        while (chunk := source.read()) is not None:
            decoded = decode_chunk(chunk, decoder)
            write(joiner.push(carrying_lines(decoded.block, decoded.data), decoded.data, decoded.places))
        write(joiner.finish())
    source.close()


@pytest.mark.parametrize("choice", CHOICES)
def test_a_topic_of_examples_teaches_what_joining_in_the_process_does(choice, stream, lines, tmp_path):
    """Early, in the same order, so that the same features are inferred; else they must be given."""
    plan = plan_of(choice)
    if not choice.startswith("early"):
        events = [event for line in lines if hasattr(event := decode_line(line.encode()), "type")]
        plan = replace(plan, features=infer_spec(events, "rich", 2 * WINDOW_MS))
    as_examples(stream, tmp_path / "examples.jsonl", plan.join)
    joined = outcome(learn(stream, plan, new_store()))
    own = Plan(model=plan.model, features=plan.features, join=plan.join)
    read = outcome(learn(tmp_path / "examples.jsonl", own, new_store()))
    assert read["rejected"] == 0
    assert {**read, "events": 0, "rejected": 0} == {**joined, "events": 0, "rejected": 0}


RATES = {"low": 0.1, "high": 0.4}


def shown(n: int, seed: int) -> list[str]:
    """Impressions at two places with click rates of their own; clicks come up to half a minute later."""
    rng, events = random.Random(seed), []
    for i in range(n):
        time, place = 1_700_000_000_000 + 200 * i, rng.choice(list(RATES))
        event = {"type": "impression", "id": f"i{i}", "time": time, "user": f"u{rng.randrange(20)}"}
        events.append((time, event | {"item": f"m{rng.randrange(9)}", "features": {"place": place}}))
        if rng.random() < RATES[place]:
            later = time + rng.randrange(30_000)
            events.append((later, {"type": "click", "id": f"c{i}", "time": later, "impression": f"i{i}"}))
    return [json.dumps(event) for _, event in sorted(events, key=lambda pair: pair[0])]


@pytest.mark.parametrize("choice", CHOICES)
def test_what_is_measured_is_calibrated(choice, tmp_path):
    """From the first impression on; waiting learns the clicks of its first window before anything else."""
    path = tmp_path / "shown.jsonl"
    path.write_text("\n".join(shown(8000, seed=1)) + "\n")
    metrics = learn(path, plan_of(choice), new_store()).parts.measures.metrics
    result, waits = metrics.result(), "wait" in CHOICES[choice][0].values()
    assert result["base_rate"] == pytest.approx(0.25, rel=0.08)
    expected = 0.78 if choice == "early, plain" else 1.0
    assert result["calibration"] == pytest.approx(expected, rel=0.15 if waits else 0.06)
    if choice != "sampled by weight":  # else only the sample is
        assert metrics.n == 8000


@pytest.mark.parametrize(
    "choice", [choice for choice in CHOICES if "wait" not in CHOICES[choice][0].values()]
)
def test_what_is_measured_is_what_would_have_been_served(choice, tmp_path):
    """At several points of the stream: the next impression, scored by a mirror of the last commit.

    Not where joining waits: what its event time closes is learned before it.
    """
    events = shown(3000, seed=2)
    path, predictions = tmp_path / "shown.jsonl", tmp_path / "predictions.jsonl"
    path.write_text("\n".join(events) + "\n")
    plan, store, served = plan_of(choice, predictions=predictions), new_store(), {}
    numbers = [i for i, event in enumerate(events) if '"impression", "id"' in event]
    for i in random.Random(3).sample(numbers[1200:], 8) + numbers[-1:]:
        served[i] = None
    for i in sorted(served):
        learn(path, plan, store, limit=i, finish=False)
        scorer = Scorer(store, plan.name, SystemClock())
        assert scorer.load()
        impression = json.loads(events[i])
        line = json.dumps(impression | {"type": "example", "label": 0}).encode() + b"\n"
        with scorer.reading() as (mirror, _):
            served[i] = impression["id"], mirror.score_lines(line)[0, 0]
    learn(path, plan, store)
    measured = {}
    for line in predictions.read_text().splitlines():
        record = json.loads(line)
        measured[int(record["key"], 16)] = np.float32(record["prediction"])
    found = [
        (measured[hash_text(name)], score) for name, score in served.values() if hash_text(name) in measured
    ]
    assert len(found) == len(served) if choice != "sampled by weight" else found
    assert [a for a, _ in found] == [b for _, b in found]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"join": JoinSettings(window_ms=WINDOW_MS, memory_events=2000, feedback="wait")}, "feedback"),
        ({"join": JoinSettings(window_ms=WINDOW_MS, memory_events=2000, late_ms=5)}, "late_ms"),
        ({"join": JoinSettings(window_ms=WINDOW_MS, memory_events=2000, negative_rate=0.5)}, "negative_rate"),
        ({"model": ModelSettings(feedback={"policy": "plain"})}, "feedback.policy = fn_weighted, but plain"),
        ({"model": ModelSettings(feedback={"negative_rate": 0.5})}, "feedback.negative_rate = 1.0"),
    ],
)
def test_a_model_stays_with_the_feedback_it_began_with(changed, named, stream):
    store = new_store()
    learn(stream, plan_of("early"), store, limit=1000)
    with pytest.raises(StoreMismatch, match=named) as refusal:
        learn(stream, Plan(**{**vars(plan_of("early")), **changed}), store)
    assert "\n" not in str(refusal.value)


def test_slices_of_a_topic_of_examples_are_those_of_its_events(stream, tmp_path):
    """There confirmations of negatives have no features; these count when they are shown."""
    plan = plan_of("early", slices="topic")
    joined = learn(stream, plan, new_store()).parts.measures.slices.top()
    as_examples(stream, tmp_path / "examples.jsonl", plan.join)
    assert learn(tmp_path / "examples.jsonl", plan, new_store()).parts.measures.slices.top() == joined
    assert sum(row.examples for row in joined) > 1000
