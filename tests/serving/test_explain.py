"""An explanation adds up to the score that is served, names what the event says, and tells what is known."""

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from streamrec.cli.explain import command
from streamrec.clock import SystemClock
from streamrec.errors import StreamrecError
from streamrec.evaluation.metrics import ProgressiveMetrics
from streamrec.events.decoder import BlockDecoder
from streamrec.events.example_reader import labelled
from streamrec.features.spec import Cross, FeatureSpec, Field
from streamrec.models.ftrl import INTERCEPT
from streamrec.models.pipeline import Pipeline
from streamrec.models.settings import ModelSettings
from streamrec.serving import explain as explain_module
from streamrec.serving import terms as terms_module
from streamrec.serving.api import RankedItem, RankRequest
from streamrec.serving.explain import explain
from streamrec.serving.occlusion import Occlusion
from streamrec.serving.rank import rank
from streamrec.serving.scorer import Scorer
from streamrec.serving.terms import LINEAR_KINDS
from streamrec.store.base import Commit
from streamrec.store.memory import MemoryStore

NOW_MS = 1_700_000_500_000
SPEC = FeatureSpec(
    fields=(
        Field(name="user", kind="category", statistics=True),  # type: ignore[arg-type]
        Field(name="item", kind="category"),
        Field(name="when", kind="time", source="time"),
        Field(name="age", kind="number", slope=True),
        Field(name="tags", kind="bag"),
        Field(name="title", kind="text"),
        Field(name="rest", kind="category", source="features.*"),
    ),
    crosses=(Cross(fields=("user", "tags")), Cross(fields=("age", "item", "tags"), limit=3)),
)
EVENT: dict[str, Any] = {
    "user": "u3",
    "item": "i7",
    "time": NOW_MS,
    "features": {"age": 31.5, "tags": ["a", "b", "a"], "title": "Big big Fish", "city": "Köln"},
}

#: Of the words of a title, and of the interval and slope of a number, only the place is known.
NAMES = [
    *(
        "(intercept)",
        "user=u3",
        "item=i7",
        "when.hour",
        "when.weekday",
        "age[0]",
        "age[1]",
        "tags=a",
        "tags=b",
    ),
    *("title[0]", "title[2]", "city=Köln", "rate(user)", "recent(user)", "user=u3×tags=a", "user=u3×tags=b"),
    *("age[0]×item=i7×tags=a", "age[0]×item=i7×tags=b"),
]


def lines(n: int) -> bytes:
    rng = np.random.default_rng(3)
    made = []
    for i in range(n):
        features = {
            "age": float(rng.integers(20, 60)),
            "tags": [["a", "b", "c"][k] for k in rng.integers(0, 3, rng.integers(0, 4))],
            "title": ["Big Fish", "Fish", "Big big"][rng.integers(3)],
            "city": ["Köln", "Ulm"][rng.integers(2)],
        }
        event = {"type": "example", "id": str(i), "time": NOW_MS - 1000 * (n - i), "features": features}
        named = {"user": f"u{rng.integers(5)}", "item": f"i{rng.integers(9)}"}
        made.append(json.dumps(event | named | {"label": int(rng.random() < 0.3)}))
    return "\n".join(made).encode() + b"\n"


def learned(settings: ModelSettings, spec: FeatureSpec = SPEC) -> Pipeline:
    pipeline = Pipeline(settings, spec)
    decoder = BlockDecoder(text_fields=pipeline.extractor.text_fields)
    block, rejections = decoder.decode(lines(300))
    assert not rejections
    pipeline.learn(labelled(block), decoder.fields)
    return pipeline


def stored(store: MemoryStore, pipeline: Pipeline, name: str = "m", **blobs: bytes) -> Scorer:
    blobs |= {"model": pipeline.describe(), **pipeline.blobs()}
    store.acquire(name, fresh=True).commit(Commit(1, pipeline.take_changed(), blobs, NOW_MS))
    scorer = Scorer(store, name, SystemClock())
    assert scorer.load()
    return scorer


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    store = MemoryStore("explain")
    yield store
    store.close()


def request(event: dict[str, Any] = EVENT) -> RankRequest:
    candidate = {"item": event.get("item"), "features": event["features"]}
    return RankRequest.model_validate({"user": event.get("user"), "candidates": [candidate]})


SETTINGS = [
    {"kind": "wide"},
    {"kind": "ftrl"},
    {"kind": "wide", "task": "rating"},
    {"kind": "wide", "expire_after_s": 3600.0},
    {"kind": "wide", "ftrl": {"l1": 0.3, "initial_accumulator": 0.1}},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_contributions_and_offset_add_up_to_what_is_served(
    store: MemoryStore, settings: dict[str, Any]
) -> None:
    scorer = stored(store, learned(ModelSettings(**settings)))
    found = explain(scorer, request(), NOW_MS)
    assert found["method"] == "terms"
    total = found["offset"] + sum(term["contribution"] for term in found["contributions"])
    assert total == pytest.approx(found["logit"])
    rating = settings.get("task") == "rating"
    assert (total if rating else 1 / (1 + math.exp(-total))) == pytest.approx(found["probability"], abs=1e-6)
    assert sum(term["confidence"] for term in found["contributions"]) == pytest.approx(
        found["confidence"], rel=1e-5
    )
    (item,) = rank(request(), scorer, NOW_MS)["items"]
    assert (found["probability"], found["confidence"]) == (item["probability"], item["confidence"])
    sizes = [abs(term["contribution"]) for term in found["contributions"]]
    assert sizes == sorted(sizes, reverse=True)
    assert found["contributions"] == explain(scorer, request(), NOW_MS)["contributions"]


def test_values_are_named(store: MemoryStore) -> None:
    found = explain(stored(store, learned(ModelSettings())), request(), NOW_MS)
    assert sorted(term["feature"] for term in found["contributions"]) == sorted(NAMES)


def test_weights_and_evidence_are_the_rows(store: MemoryStore) -> None:
    pipeline = learned(ModelSettings())
    terms = {t["feature"]: t for t in explain(stored(store, pipeline), request(), NOW_MS)["contributions"]}
    (row,), _ = pipeline.model.tables["linear"].get(np.array([INTERCEPT], np.uint64))
    assert terms["(intercept)"]["squared_gradients"] == row[1]
    assert terms["(intercept)"]["value"] == 1.0


def test_count_and_age_are_told_where_they_are_known(store: MemoryStore) -> None:
    events = [json.loads(line) for line in lines(300).splitlines()]
    of_user = [event for event in events if event["user"] == "u3"]
    scorer = stored(store, learned(ModelSettings()))
    terms = {t["feature"]: t for t in explain(scorer, request(), NOW_MS)["contributions"]}
    assert terms["user=u3"]["count"] == len(of_user)
    assert terms["user=u3"]["age_s"] == pytest.approx((NOW_MS - of_user[-1]["time"]) / 1000, abs=0.002)
    assert terms["user=u3"]["count_is"] == "counted"
    assert [terms["item=i7"][name] for name in ("count", "count_is", "age_s")] == [None] * 3  # no metrics
    scorer = stored(store, learned(ModelSettings(expire_after_s=86_400.0)))
    terms = {t["feature"]: t for t in explain(scorer, request(), NOW_MS)["contributions"]}
    of_item = [event for event in events if event["item"] == "i7"]
    expected = (NOW_MS - of_item[-1]["time"]) / 1000
    assert terms["item=i7"]["age_s"] == pytest.approx(expected, abs=120)  # float32 hours


def test_counts_that_are_not_kept_are_estimated_from_squared_gradients(store: MemoryStore) -> None:
    pipeline, decoder = Pipeline(ModelSettings(), SPEC), BlockDecoder(text_fields=("title",))
    measures = ProgressiveMetrics()
    examples = labelled(decoder.decode(lines(3000))[0])
    measures.update(pipeline.learn(examples, decoder.fields), examples.labels, examples.weights)
    metrics = json.dumps(measures.result()).encode()
    scorer = stored(store, pipeline, metrics=metrics)
    terms = {t["feature"]: t for t in explain(scorer, request(), NOW_MS)["contributions"]}
    mean_square = measures.result()["rmse"] ** 2
    for name in ("item=i7", "(intercept)", "tags=b"):
        term = terms[name]
        assert term["count_is"] == "estimated"
        assert term["count"] == pytest.approx(term["squared_gradients"] / term["value"] ** 2 / mean_square)
    assert terms["(intercept)"]["count"] == pytest.approx(3000, rel=0.05)  # the gain is not 1
    assert terms["item=i7"]["count"] == pytest.approx(3000 / 9, rel=0.15)
    assert (terms["rate(user)"]["count"], terms["age[1]"]["count"]) == (
        None,
        None,
    )  # another value every time


def test_rank_tells_the_same_as_the_command(store: MemoryStore) -> None:
    scorer = stored(store, learned(ModelSettings()), metrics=b'{"rmse":0.5}')
    several = request().model_copy(update={"explain": True, "candidates": request().candidates * 2})
    items = rank(several, scorer, NOW_MS)["items"]
    alone = explain(scorer, request(), NOW_MS)
    for item in items:
        for name in ("method", "logit", "offset", "gain", "contributions", "probability", "confidence"):
            assert item[name] == alone[name]
        assert RankedItem.model_validate(item).contributions
    assert "contributions" not in rank(request(), scorer, NOW_MS)["items"][0]


def several(n: int, **more: Any) -> RankRequest:
    """Of n candidates that differ."""
    events = [json.loads(line) for line in lines(n).splitlines()]
    candidates = [{"item": event["item"], "features": event["features"]} for event in events]
    shared = {"age": 31.5, "shared": "Köln"}
    body = {"user": "u3", "features": shared, "candidates": candidates, "explain": True, **more}
    return RankRequest.model_validate(body)


@pytest.mark.parametrize("settings", [*SETTINGS, {"kind": "dcn"}], ids=str)
def test_each_of_several_is_explained_as_if_alone(store: MemoryStore, settings: dict[str, Any]) -> None:
    scorer = stored(store, learned(ModelSettings(**settings)), metrics=b'{"rmse":0.5}')
    asked = several(12)
    alone = [
        rank(asked.model_copy(update={"candidates": [one]}), scorer, NOW_MS)["items"][0]
        for one in asked.candidates
    ]
    found = rank(asked, scorer, NOW_MS)["items"]
    for item, its in zip(found, sorted(alone, key=lambda its: -its["probability"]), strict=True):
        assert {**item, "confidence": None} == {**its, "confidence": None}


def test_a_word_is_not_named_by_what_another_candidate_says(store: MemoryStore) -> None:
    titles = ["Big Fish", "big", "Fish"]
    body = {"features": {"title": "fish"}, "candidates": [{"features": {"title": its}} for its in titles]}
    asked = RankRequest.model_validate({**body, "explain": True})
    items = rank(asked, stored(store, learned(ModelSettings())), NOW_MS)["items"]
    named = [{term["feature"] for term in item["contributions"]} for item in items]
    assert sorted(sorted(name for name in names if "title" in name) for names in named) == [
        ["title"],
        ["title=big"],
        ["title[0]", "title[1]"],
    ]


@pytest.mark.parametrize("kind", ["wide", "dcn"])
def test_others_rank_and_commits_go_in_while_names_are_made(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    """What is told then is still of the commit that was read, whatever became of it meanwhile."""
    pipeline = learned(ModelSettings(kind=kind, expire_after_s=3600.0 if kind == "wide" else None))
    scorer = stored(store, pipeline, metrics=b'{"rmse":0.5}')
    entered, go_on = Event(), Event()
    where, name = {"wide": (terms_module, "value_names"), "dcn": (Occlusion, "effects")}[kind]
    now = getattr(where, name)

    def later(*arguments: Any) -> Any:
        entered.set()
        assert go_on.wait(20)
        return now(*arguments)

    expected = rank(several(12), scorer, NOW_MS)
    monkeypatch.setattr(where, name, later)
    with ThreadPoolExecutor(2) as threads:
        explaining = threads.submit(rank, several(12), scorer, NOW_MS)
        try:
            assert entered.wait(20)
            plain = threads.submit(rank, several(40, explain=False), scorer, NOW_MS)
            assert len(plain.result(20)["items"]) == 40
            threads.submit(go_on_learning, pipeline, scorer).result(20)
        finally:
            go_on.set()
        found = explaining.result(20)
    monkeypatch.setattr(where, name, now)
    after = rank(several(12), scorer, NOW_MS)
    assert (found["seq"], after["seq"]) == (1, 2)
    assert found["items"] == expected["items"] != after["items"]


def go_on_learning(pipeline: Pipeline, scorer: Scorer) -> None:
    decoder = BlockDecoder(text_fields=pipeline.extractor.text_fields)
    pipeline.learn(labelled(decoder.decode(lines(400))[0]), decoder.fields)
    blobs = {"metrics": b'{"rmse":0.1}', **pipeline.blobs()}
    assert scorer.generation is not None
    scorer.generation.apply(Commit(2, pipeline.take_changed(), blobs, NOW_MS))


def test_what_was_never_seen_adds_nothing(store: MemoryStore) -> None:
    event = {"user": "nobody", "features": {"city": "nowhere"}}
    terms = explain(stored(store, learned(ModelSettings())), request(event), NOW_MS)["contributions"]
    by_name = {term["feature"]: term for term in terms}
    for name in ("user=nobody", "city=nowhere"):
        assert (by_name[name]["contribution"], by_name[name]["squared_gradients"]) == (0.0, 0.0)
    assert by_name["user=nobody"]["count"] is None


@pytest.mark.parametrize("task", ["click", "rating"])
def test_other_kinds_leave_each_field_out(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    pipeline = learned(ModelSettings(task=task))  # type: ignore[arg-type]
    scorer = stored(store, pipeline)
    assert pipeline.settings.kind in LINEAR_KINDS
    monkeypatch.setattr(explain_module, "LINEAR_KINDS", frozenset())
    found = explain(scorer, request(), NOW_MS)
    assert found["method"] == "occlusion"
    effects = {each["feature"]: each["contribution"] for each in found["contributions"]}
    assert set(effects) == {"user", "item", *(f"features.{name}" for name in EVENT["features"])}
    without = EVENT | {"features": {k: v for k, v in EVENT["features"].items() if k != "age"}}
    (other,) = rank(request(without), scorer, NOW_MS)["items"]
    p, q = found["probability"], other["probability"]
    expected = p - q if task == "rating" else math.log(p / (1 - p)) - math.log(q / (1 - q))
    assert effects["features.age"] == pytest.approx(expected, abs=1e-5)


# ---- the command


def run(*arguments: str, data: str | None = None) -> Result:
    return CliRunner().invoke(command, ["--store", "memory", "--name", "cli", *arguments], input=data)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    store = MemoryStore("memory")
    stored(store, learned(ModelSettings()), "cli")
    monkeypatch.setattr("streamrec.store.registry.open_store", lambda _: store)
    yield
    store.close()


@pytest.mark.usefixtures("cli")
def test_the_event_comes_from_a_file_stdin_or_the_option(tmp_path: Path) -> None:
    text = json.dumps({"type": "impression", "id": "x", **EVENT})
    (tmp_path / "event.json").write_text(text)
    told = [
        run(str(tmp_path / "event.json"), "--json"),
        run("-", "--json", data=text),
        run("--event", text, "--json"),
    ]
    answers = [json.loads(each.stdout) for each in told]
    for answer in answers:
        assert answer.pop("staleness_ms") >= 0
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["time"] == NOW_MS
    assert {"model", "kind", "seq", "probability", "logit", "contributions"} <= answers[0].keys()


@pytest.mark.usefixtures("cli")
def test_a_table_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    text = run("--event", json.dumps(EVENT)).stdout
    assert text.startswith("model cli (wide), commit 1 of epoch ")
    assert "user=u3×tags=a" in text
    monkeypatch.setattr(explain_module, "LINEAR_KINDS", frozenset())
    text = run("--event", json.dumps(EVENT)).stdout
    assert "features.age" in text
    assert "no weight of its own for a feature" in text


@pytest.mark.usefixtures("cli")
@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("nonsense", "event: expected one JSON object, got: Expecting value"),
        ("[1]", "event: expected one JSON object, got list"),
        ("[" * 99_999, "event: expected one JSON object, got: "),
        ('{"user": "a"} {"user": "b"}', "event: expected one JSON object, got: more than one event"),
        ('{"type": "click"}', "event: expected an impression, rating or example, got 'click'"),
        ('{"user": 7}', "event: user: Input should be a valid string, got 7"),
        ('{"features": {"a": {"b": 1}}}', "event: features.a: expected a finite number"),
        ('{"time": NaN}', "event: "),
    ],
)
def test_a_bad_event_is_one_clear_line(event: str, said: str) -> None:
    error = run("--event", event).exception
    assert isinstance(error, StreamrecError)
    assert str(error).startswith(said)
    assert "\n" not in str(error)


@pytest.mark.usefixtures("cli")
def test_no_event_or_two_and_no_model_are_told() -> None:
    for arguments, said in ((), "expected one event"), (("-", "--event", "{}"), "give one of the two"):
        assert said in str(run(*arguments, data="{}").exception)
    assert "no model 'other'; models there: cli" in str(run("--name", "other", "--event", "{}").exception)
