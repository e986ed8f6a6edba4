"""Events as canonical JSON lines, as `events.codec.encode` writes them, without building a model for each."""

import json
from collections.abc import Mapping
from typing import TypeAlias

__all__ = ["CLICK_DELAY_MS", "Features", "click", "example", "impression", "rating"]

#: Sets that record no time of the click have it a moment after the impression, so that what is learned at a
#: time never depends on a click that was not there yet.
CLICK_DELAY_MS = 1000

Features: TypeAlias = Mapping[str, str | int | float | list[str]]

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def rating(key: str, time_ms: int, pair: tuple[str, str], value: float, features: Features) -> bytes:
    """A rating by (user, item)."""
    user, item = pair
    record = {"type": "rating", "id": key, "time": time_ms, "user": user, "item": item}
    return _line(record | {"rating": value, "features": features})


def impression(
    key: str, time_ms: int, pair: tuple[str, str], features: Features, **optional: str | int | float
) -> bytes:
    """An item shown to a user (user, item); optional: request, position, propensity, in this order."""
    user, item = pair
    record = {"type": "impression", "id": key, "time": time_ms, "user": user, "item": item}
    return _line(record | optional | {"features": features})


def click(key: str, time_ms: int, impression_key: str) -> bytes:
    """A click on an impression."""
    return _line({"type": "click", "id": key, "time": time_ms, "impression": impression_key})


def example(
    key: str, time_ms: int, label: int, features: Features, pair: tuple[str, str] | None = None
) -> bytes:
    """A labelled example, of (user, item) where the set has them."""
    record: dict[str, object] = {"type": "example", "id": key, "time": time_ms, "label": label}
    if pair is not None:
        record["user"], record["item"] = pair
    record["features"] = features
    return _line(record)


def _line(record: Mapping[str, object]) -> bytes:
    return _encode(record).encode() + b"\n"
