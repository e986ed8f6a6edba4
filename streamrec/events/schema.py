"""JSON Schemas (draft 2020-12) of the events, exported from the pydantic models."""

import json
from pathlib import Path
from typing import Any

from streamrec.events.model import EVENT_MODELS

__all__ = ["VERSION", "export", "schema"]

#: Of the published schemas. Adding an optional field keeps it; anything else is a version beside the old.
VERSION = 1


def schema(event_type: str) -> dict[str, Any]:
    """The JSON Schema of one event type."""
    made = EVENT_MODELS[event_type].model_json_schema()
    made["required"] = ["type", *(name for name in made["required"] if name != "type")]
    del made["properties"]["type"]["default"]  # on the wire it is never left out
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:streamrec:event:{event_type}:v{VERSION}",
        "title": made.pop("title"),
        "description": made.pop("description"),
        "type": made.pop("type"),
        "required": made.pop("required"),
    }
    return {**head, **_without_titles(made)}


def export(folder: Path) -> list[Path]:
    """Write `<type>/v1.json` for every event type below a folder; the files written."""
    written = []
    for event_type in EVENT_MODELS:
        path = folder / event_type / f"v{VERSION}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(schema(event_type), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def _without_titles(made: dict[str, Any]) -> dict[str, Any]:
    """Pydantic's generated titles repeat the field's name."""
    for properties in made["properties"].values():
        properties.pop("title", None)
    return made
