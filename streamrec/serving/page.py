"""The service's own pages, made here: FastAPI's loads its scripts from a network that may not be there."""

import json
from html import escape
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response

from streamrec.serving.asset import ASSETS, HEADERS, asset_text

__all__ = ["add_pages"]


def add_pages(app: FastAPI) -> None:
    """The live page at `/`, the documentation at `/docs`, and the files of both."""

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return Response(_docs_page(app.openapi()), media_type="text/html", headers=HEADERS)

    @app.get("/", include_in_schema=False)
    @app.get("/assets/{name}", include_in_schema=False)
    def file(request: Request) -> Response:
        asset = ASSETS.get(request.url.path)
        if asset is None:
            raise HTTPException(404)
        return Response(asset_text(asset.name), media_type=asset.media_type, headers=HEADERS)


def _docs_page(openapi: dict[str, Any]) -> str:
    """An OpenAPI document as one page with a form to try every operation."""
    info, schemas = openapi["info"], openapi.get("components", {}).get("schemas", {})
    parts = [
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('summary', ''))}"
    ]
    parts.append(' · <a href="/openapi.json">openapi.json</a></p>')
    if openapi.get("components", {}).get("securitySchemes"):
        parts.append('<p><label>Token <input id="token" type="password" autocomplete="off"></label></p>')
    for path, methods in openapi["paths"].items():
        parts += [_operation(path, method, operation, schemas) for method, operation in methods.items()]
    parts.append("<h2>Schemas</h2>")
    parts += [_schema(name, schema) for name, schema in sorted(schemas.items())]
    return _page("streamrec: documentation", "".join(parts))


def _page(title: str, body: str) -> str:
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
    files = (
        '<link rel="stylesheet" href="/assets/page.css"><script type="module" src="/assets/docs.js"></script>'
    )
    return (
        f'<!doctype html><html lang="en"><head>{head}<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title>{files}</head><body>{body}</body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    """One operation: what it does, its answers, a form to try it."""
    answers = "".join(
        f"<tr><td><code>{code}</code></td><td>{_type(_content(answer)) if _content(answer) else ''}</td>"
        f"<td>{escape(answer.get('description', ''))}</td></tr>"
        for code, answer in operation["responses"].items()
    )
    body = _content(operation.get("requestBody", {}))
    text = escape(operation.get("description", "")).replace("\n\n", "</p><p>")
    summary = escape(operation.get("summary", ""))
    return (
        f'<h2><span class="verb">{method.upper()}</span> <code>{path}</code> {summary}</h2>'
        f"<p>{text}</p>"
        + (f"<p>Body: {_type(body)}</p>" if body else "")
        + f'<table>{answers}</table><form data-method="{method.upper()}" data-path="{path}">'
        + (
            f'<textarea rows="12" spellcheck="false">{escape(_example(body, schemas))}</textarea>'
            if body
            else ""
        )
        + "<button>Try it</button><pre hidden></pre></form>"
    )


def _content(part: dict[str, Any]) -> dict[str, Any]:
    """The schema of a request or response body; empty where it has none."""
    for media in part.get("content", {}).values():
        if media.get("schema"):
            schema: dict[str, Any] = media["schema"]
            return schema
    return {}


def _example(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    target = schemas.get(schema.get("$ref", "").rsplit("/", 1)[-1], schema)
    return json.dumps((target.get("examples") or [{}])[0], indent=2, ensure_ascii=False)


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code></td>"
        f"<td>{_type(part)}{'' if field in required else ', optional'}</td>"
        f"<td>{escape(part.get('description', ''))}</td></tr>"
        for field, part in schema.get("properties", {}).items()
    )
    about = escape(schema.get("description", ""))
    head = f'<details open id="{escape(name)}"><summary><b>{escape(name)}</b> {about}</summary>'
    return f"{head}{f'<table>{rows}</table>' if rows else _type(schema)}</details>"


def _type(schema: dict[str, Any]) -> str:
    """A JSON Schema's type in a few words, with links to named schemas."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    for choice in ("anyOf", "oneOf"):
        if choice in schema and "type" not in schema:
            return " or ".join(_type(part) for part in schema[choice])
    kind = escape(str(schema.get("type", "anything")))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return kind
