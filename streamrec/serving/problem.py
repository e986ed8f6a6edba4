"""Errors as `application/problem+json` (RFC 9457), each one clear line."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from streamrec.errors import BrokerError, NoRetriever, SourceError, StoreError, StreamrecError, UsageError
from streamrec.serving.api import Problem

__all__ = ["Refusal", "add_problems", "faults_line", "problem"]

#: A request with a thousand faults is told the first few.
N_FAULTS = 5


class Refusal(HTTPException):
    """A request that is not looked at: too large, too slow, too many.

    Attributes:
        reason: one word, for the metrics.

    """

    def __init__(self, reason: str, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.reason = reason


def problem(status: int, detail: str, **more: Any) -> JSONResponse:
    """The answer for one error; more: members beside the usual ones."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(body.model_dump() | more, status, media_type="application/problem+json")


def add_problems(app: FastAPI, refused: Callable[[str], None]) -> None:
    """Answer every error of this app with a problem; `refused` is told the reason of each `Refusal`."""

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error, Refusal):
            refused(error.reason)
        answer = problem(error.status_code, _detail(request, error))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(ValidationError)
    async def _invalid(_: Request, error: ValidationError) -> JSONResponse:
        return problem(422, faults_line(error.errors(include_url=False, include_context=False)))

    @app.exception_handler(RequestValidationError)
    async def _parameter(_: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, faults_line(error.errors()))

    @app.exception_handler(NoRetriever)
    async def _ranks_only(_: Request, error: NoRetriever) -> JSONResponse:
        return problem(409, str(error))

    @app.exception_handler(UsageError)
    async def _usage(_: Request, error: UsageError) -> JSONResponse:
        return problem(422, str(error))

    @app.exception_handler(StoreError)
    @app.exception_handler(BrokerError)
    @app.exception_handler(SourceError)
    async def _away(_: Request, error: StreamrecError) -> JSONResponse:
        answer = problem(503, str(error))
        answer.headers["retry-after"] = "1"
        return answer

    @app.exception_handler(ClientDisconnect)
    async def _gone(_: Request, __: ClientDisconnect) -> JSONResponse:
        # Nobody reads it, but it is counted: as the client's end of the request, no fault of the service.
        return problem(400, "body: the client left before all of it had come")

    @app.exception_handler(Exception)
    async def _fault(_: Request, error: Exception) -> JSONResponse:
        return problem(500, f"a fault of the service: {type(error).__name__}; its log has the trace")


def _detail(request: Request, error: HTTPException) -> str:
    """What an error says; the framework's own, of paths and methods, say no more than their status."""
    if error.detail != HTTPStatus(error.status_code).phrase:
        return error.detail
    path = _short(request.url.path)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return f"path: expected one of this service's, got {path}; /docs has them all"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"method: {path} expects {(error.headers or {}).get('Allow')}, got {_short(request.method)}"
    return error.detail


def faults_line(faults: Sequence[Any]) -> str:
    """The first of pydantic's faults in one line, each with its place in the request."""
    seen: dict[str, str] = {}
    for fault in faults:
        where, expected = _place(fault["loc"], fault["msg"])
        got = "" if fault["type"] in ("missing", "json_invalid") else f", got {_short(fault['input'])}"
        seen.setdefault(where, f"{where}: {expected}{got}")
    told = list(seen.values())[:N_FAULTS]
    more = len(seen) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _place(loc: tuple[int | str, ...], message: str) -> tuple[str, str]:
    """Where the fault is, in the words of the request, and what was expected.

    Below a feature's name pydantic lists the members of the union that it tried: one sentence says it better.
    """
    depth = 4 if loc[:1] == ("candidates",) else 2
    if len(loc) >= depth and loc[depth - 2] == "features":
        loc, message = loc[:depth], "expected a finite number, string, boolean, list of strings or null"
    return ".".join(map(str, loc)) or "body", message


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
