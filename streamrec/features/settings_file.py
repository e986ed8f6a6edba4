"""A settings file: TOML checked by a pydantic model; errors name the line and the nearest valid key."""

import json
import re
import tomllib
from collections.abc import Iterable
from difflib import get_close_matches
from os import PathLike, fspath
from pathlib import Path as FilePath
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from streamrec.errors import ConfigError
from streamrec.features.toml_lines import Path, locate_keys

__all__ = ["read_settings"]

Model = TypeVar("Model", bound=BaseModel)


def read_settings(path: str | PathLike[str], model: type[Model]) -> Model:
    """The settings in a TOML file.

    Values are taken strictly: a string is not taken for a number, nor a number for a boolean.

    Args:
        path: the file.
        model: what it may say; models that forbid extra keys get unknown ones told.

    Raises:
        ConfigError: no such file, not TOML, an unknown or missing key, or a wrong value; one line that names
        the
            file, the line, what was expected and what was found.

    """
    name = fspath(path)
    text = _read_text(name)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_message(name, str(error), text)) from None
    try:
        return model.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(_message(name, text, data, model, error)) from None


def _read_text(name: str) -> str:
    try:
        return FilePath(name).read_text("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such settings file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{name}: expected TOML in UTF-8, got byte 0x{error.object[error.start]:02x}"
        ) from None
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read: {error.strerror}") from None


def _syntax_message(name: str, error: str, text: str) -> str:
    place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", error)
    if not place:
        return f"{name}: not TOML: {error}"
    line = place[1] or max(len(text.splitlines()), 1)
    column = f", column {place[2]}" if place[2] else ""
    return f"{name} line {line}{column}: not TOML: {error[: place.start()]}"


def _message(
    name: str, text: str, data: dict[str, Any], model: type[BaseModel], error: ValidationError
) -> str:
    """The first error in the file; a misspelt key before the missing one that it should have been."""
    lines = locate_keys(text)
    errors = error.errors(include_url=False)
    placed = [(_existing(data, _location(details)), details) for details in errors]
    path, first = min(placed, key=lambda item: (item[1]["type"] == "missing", _line(lines, item[0])))
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{name} line {_line(lines, path)}: {_describe(path, first, data, model)}{more}"


def _location(details: ErrorDetails) -> list[int | str]:
    """Where pydantic says it is, and within that where the error itself says it is."""
    return [*details["loc"], *details.get("ctx", {}).get("at", ())]


def _existing(data: Any, location: Iterable[int | str]) -> Path:
    """The part of a location that is in the data: without names of union members and missing keys."""
    path: Path = ()
    for part in location:
        inside = isinstance(data, dict) and part in data
        if inside or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            path, data = (*path, part), data[part]
    return path


def _line(lines: dict[Path, int], path: Path) -> int:
    """The line of the path, or of the nearest thing around it."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _describe(path: Path, details: ErrorDetails, data: dict[str, Any], model: type[BaseModel]) -> str:
    kind, got = details["type"], details["input"]
    if kind == "extra_forbidden":
        valid = _valid_keys(model, path[:-1])
        what = "section or key" if len(path) == 1 else "key"
        return f"unknown {what} {path[-1]!r}{_section(path[:-1], data)}{_nearest(str(path[-1]), valid)}"
    if kind == "missing":
        return f"missing key {details['loc'][-1]!r}{_section(path, data)}"
    if kind == "value_error" or "at" in details.get("ctx", {}):
        return details["msg"].removeprefix("Value error, ")
    expected = re.sub(r"^Input should (?:be )?", "", details["msg"])
    hint = ""
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", expected)
        hint = _nearest(got, choices) if isinstance(got, str) and get_close_matches(got, choices, n=1) else ""
    key = next((part for part in reversed(path) if isinstance(part, str)), "the file")
    return f"{key}{_section(path[:-1], data)}: expected {expected}, got {_shown(got)}{hint}"


def _section(path: Path, data: Any) -> str:
    """` in [a.b]`, or ` in [[a.b]]` for an element of an array of tables, or nothing at the top."""
    while path and not isinstance(_at(data, path), dict):
        path = path[:-1]
    names = ".".join(str(part) for part in path if isinstance(part, str))
    if not names:
        return ""
    return f" in [[{names}]]" if isinstance(path[-1], int) else f" in [{names}]"


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def _nearest(got: str, valid: list[str]) -> str:
    near = get_close_matches(got, valid, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; valid are {', '.join(valid)}" if valid else ""


def _shown(value: Any) -> str:
    """What was found, as TOML and JSON write it, cut to one short line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _valid_keys(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that the models at this place know."""
    models = [model]
    for part in path:
        if isinstance(part, str):
            fields = [m.model_fields[part] for m in models if part in m.model_fields]
            models = [inner for field in fields for inner in _models_in(field.annotation)]
    return list(dict.fromkeys(name for m in models for name in m.model_fields))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models that an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
