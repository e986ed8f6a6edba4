"""The OpenAPI document: FastAPI's, completed by what the endpoints read and answer by hand."""

from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import FastAPI

from streamrec.serving.api import EventsProblem, Problem, RankRequest
from streamrec.serving.events_schema import event_schemas
from streamrec.serving.limits import OPEN_PATHS
from streamrec.serving.retrieval_api import RecommendRequest, RetrieveRequest

__all__ = ["complete_document", "problems"]

_REFS = "#/components/schemas/{model}"


class _Case(NamedTuple):
    """One kind of problem."""

    description: str
    detail: str  # an example
    header: str = ""
    header_text: str = ""


_CASES = {
    401: _Case(
        "A token is missing or wrong; only where the service was started with tokens.",
        "authorization: expected a header 'Bearer TOKEN', got none; ask the operator for a token",
        "WWW-Authenticate",
        "The scheme, `Bearer` (RFC 6750).",
    ),
    404: _Case(
        "The service was started without --events.",
        "this service takes no events: start it with --events kafka://host:port/topic or --events FILE",
    ),
    408: _Case(
        "The body did not come in time. The connection is closed.", "body: not whole in time; send it faster"
    ),
    409: _Case(
        "The model ranks items, but finds none.",
        "model 'default' ranks, but does not retrieve: learn one with --model two_tower",
    ),
    413: _Case("The body is too large.", "body: expected at most 16777216 bytes; send fewer candidates"),
    415: _Case(
        "The body is compressed.", "content-encoding: expected none, got 'gzip'; send the body uncompressed"
    ),
    422: _Case(
        "The request cannot be used; the detail says what, where, expected and got.",
        "k: Input should be greater than or equal to 1, got 0",
    ),
    500: _Case("A fault of the service.", "a fault of the service: RuntimeError; its log has the trace"),
    503: _Case(
        "There is no model yet, or the store or the transport does not answer, or too much is under way. "
        "Send it again after `Retry-After` seconds: events that arrived all the same are known by their ids.",
        "requests would wait for too long; send this one again later",
        "Retry-After",
        "Seconds to wait before asking again.",
    ),
}


def problems(*statuses: int, **models: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """What an endpoint answers to errors, for its `responses`: a problem with an example for each status.

    Args:
        statuses: that it answers.
        models: `status_422=EventsProblem`: of which form, where it is not `Problem`.

    """
    return {status: _response(status, models.get(f"status_{status}", Problem)) for status in statuses}


def _response(status: int, model: type[Problem]) -> dict[str, Any]:
    case = _CASES[status]
    title = HTTPStatus(status).phrase
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": case.detail,
    }
    if model is EventsProblem:
        fault = "'impression' is a required property"
        example |= {"detail": f"event 0: {fault}", "errors": [{"index": 0, "reason": fault}]}
    schema = {"$ref": _REFS.format(model=model.__name__)}
    response: dict[str, Any] = {
        "description": case.description,
        "content": {"application/problem+json": {"schema": schema, "example": example}},
    }
    if case.header:
        kind = "integer" if case.header == "Retry-After" else "string"
        header = {"description": case.header_text, "schema": {"type": kind}}
        response["headers"] = {case.header: header}
    return response


def complete_document(app: FastAPI, *, with_tokens: bool) -> None:
    """Add to `app.openapi` the models of bodies that are read and answered by hand, and who may ask."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        document = make()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for model in (RankRequest, RetrieveRequest, RecommendRequest, Problem, EventsProblem):
            schema = model.model_json_schema(ref_template=_REFS)
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        schemas.update(event_schemas())
        if with_tokens:
            _add_security(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _add_security(document: dict[str, Any]) -> None:
    scheme = {"type": "http", "scheme": "bearer", "description": "A token that the operator has given out."}
    document["components"]["securitySchemes"] = {"bearer": scheme}
    for path, operations in document["paths"].items():
        if path not in OPEN_PATHS:
            for operation in operations.values():
                operation["security"] = [{"bearer": []}]
