"""The schemas of events for the OpenAPI document, made of those that are exported."""

from typing import Any

from streamrec.events.block import EVENT_TYPES
from streamrec.events.schema import schema
from streamrec.serving.api import MAX_EVENTS

__all__ = ["event_schemas"]

_EXAMPLE = [
    {
        "type": "impression",
        "id": "i1",
        "time": 1700000000000,
        "user": "ann",
        "item": "film7",
        "features": {"genres": ["drama"], "age": 31},
    },
    {"type": "click", "id": "c1", "time": 1700000004000, "impression": "i1"},
]


def event_schemas() -> dict[str, Any]:
    """The schemas of all events, of one of any type, and of a body, for the OpenAPI document."""
    schemas = {}
    for name in EVENT_TYPES:
        made = schema(name)
        schemas[name.capitalize()] = {key: value for key, value in made.items() if not key.startswith("$")}
    refs = {name: f"#/components/schemas/{name.capitalize()}" for name in EVENT_TYPES}
    schemas["Event"] = {
        "description": "One event of any type.",
        "oneOf": [{"$ref": ref} for ref in refs.values()],
        "discriminator": {"propertyName": "type", "mapping": refs},
    }
    event = {"$ref": "#/components/schemas/Event"}
    schemas["Events"] = {
        "description": "One event, or a list of them.",
        "anyOf": [event, {"type": "array", "items": event, "maxItems": MAX_EVENTS}],
        "examples": [_EXAMPLE],
    }
    return schemas
