"""The service against its own OpenAPI document: whatever is sent, the answer is one that stands there."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from serving_fakes import FakeSink
from small_retriever import Shelf, mirror

from streamrec.clock import SystemClock
from streamrec.features.spec import Cross, FeatureSpec, Field
from streamrec.models.settings import ModelSettings
from streamrec.serving.app import create_app
from streamrec.serving.delivery import Delivery
from streamrec.serving.limits import Limits, Protection
from streamrec.serving.scorer import Scorer
from streamrec.serving.token import Tokens
from streamrec.store.memory import MemoryStore

schemathesis = pytest.importorskip("schemathesis", reason="pip install '.[test]' has schemathesis")

from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = [
    ("POST", "/v1/rank"),
    ("POST", "/v1/retrieve"),
    ("POST", "/v1/recommend"),
    ("POST", "/v1/events"),
    ("GET", "/v1/model"),
    ("GET", "/v1/arms"),
    ("GET", "/v1/model/history"),
    ("GET", "/v1/model/curves"),
    ("GET", "/v1/model/weights"),
    ("GET", "/v1/model/crosses"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
]
TOKEN = "a-token-0123456789"


@pytest.fixture(scope="module")
def app() -> Iterator[FastAPI]:
    """A real model, of every kind of feature, behind everything that protects a service."""
    fields = [
        Field(name="user", kind="category", statistics=True),  # type: ignore[arg-type]
        Field(name="item", kind="category"),
        Field(name="age", kind="number"),
        Field(name="tags", kind="bag"),
        Field(name="title", kind="text"),
        Field(name="rest", kind="category", source="features.*"),
    ]
    crosses = [Cross(fields=("user", "item")), Cross(fields=("user", "tags"))]
    spec = FeatureSpec(fields=tuple(fields), crosses=tuple(crosses))
    store = MemoryStore("schemathesis")
    shelf = Shelf(store.acquire("m"), ModelSettings(), spec)
    shelf.put({f"i{n}": [0, n, 1] for n in range(20)}, '{"tags":["a"],"age":7}')
    shelf.commit()
    scorer = Scorer(store, "m", SystemClock(), build=mirror(shelf))
    assert scorer.load()
    protection = Protection(Limits(delay_ms=60_000), Tokens([TOKEN]))
    yield create_app(scorer, delivery=Delivery(FakeSink().open), protection=protection)
    store.close()


@pytest.fixture(scope="module")
def schema(app: FastAPI) -> Any:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    for path in ("/v1/model/weights", "/v1/model/crosses"):
        look_inside(schema[path]["GET"].Case())
    return schema


def look_inside(case: Any) -> None:
    """The first look at a model compiles: until it is over, a 503 says so."""
    until = time.monotonic() + 200
    while case.call(headers={"authorization": f"Bearer {TOKEN}"}).status_code == 503:
        assert time.monotonic() < until, case


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_stands_in_the_document(schema: Any, method: str, path: str) -> None:
    answers = answered(schema[path][method], GenerationMode.POSITIVE, 20 if method == "POST" else 3)
    assert answers & {200, 207}
    # of one without parameters nothing can be wrong
    if method == "POST" or path in ("/readyz", "/v1/model/history"):
        assert 422 in answered(schema[path][method], GenerationMode.NEGATIVE, 20 if method == "POST" else 3)


def answered(operation: Any, mode: GenerationMode, n: int) -> set[int]:
    """The statuses of n requests, all of them checked."""
    answers: set[int] = set()

    @settings(
        max_examples=n,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        response = case.call(headers={"authorization": f"Bearer {TOKEN}"})
        answers.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    check()
    return answers


def test_every_operation_is_tested(schema: Any) -> None:
    document = {(m.upper(), p) for p, operations in schema.raw_schema["paths"].items() for m in operations}
    assert document == set(OPERATIONS)


def test_every_problem_has_an_example_that_is_one(schema: Any) -> None:
    schemas = schema.raw_schema["components"]["schemas"]
    n_problems = 0
    for operations in schema.raw_schema["paths"].values():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) < 400:
                    continue
                content = response["content"]["application/problem+json"]
                name = content["schema"]["$ref"].rsplit("/", 1)[-1]
                assert set(schemas[name]["required"]) <= set(content["example"])
                assert content["example"]["status"] == int(status)
                n_problems += 1
    assert n_problems > 10
