"""Kind, settings and spec of a model as a blob of its commits, from which scorers build an empty one."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from streamrec.errors import StoreMismatch
from streamrec.features.spec import FeatureSpec
from streamrec.models.settings import ModelSettings

T = TypeVar("T")

__all__ = ["built", "description"]

_FORMAT = 1


def description(settings: ModelSettings, spec: FeatureSpec) -> bytes:
    """One JSON object: the commit's blob "model"."""
    its = {
        "format": _FORMAT,
        "kind": settings.kind,
        "settings": _without_retrieval(settings.model_dump(mode="json")),
        "spec": json.loads(spec.to_json()),
    }
    for field in its["spec"]["fields"]:
        if not field["of_item"]:
            del field["of_item"]
    return json.dumps(its, separators=(",", ":")).encode()


def built(blob: bytes, build: Callable[[ModelSettings, FeatureSpec], T]) -> T:
    """What is built from what `description` wrote down.

    Raises:
        StoreMismatch: written by another version.

    """
    try:
        stored = json.loads(blob)
        if stored["format"] != _FORMAT:
            raise ValueError(f"format {stored['format']}")
        settings = ModelSettings.model_validate(stored["settings"])
        return build(settings, FeatureSpec.model_validate(stored["spec"]))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreMismatch(
            f"stored model: expected format {_FORMAT}, got {str(error).splitlines()[0]}; "
            "it was made by another version of streamrec: start over with --fresh"
        ) from None
    except RecursionError:  # no learner nests so deep
        raise StoreMismatch(
            "stored model: not written by streamrec (nested too deep): start over with --fresh"
        ) from None


def _without_retrieval(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a model and its parts; those who only rank have none of retrieval.

    What they are described by is part of their state's hash: it stays what it was before others retrieved.
    """
    if settings["kind"] != "two_tower":
        del settings["ranker"], settings["retrieval"]
    else:
        settings["ranker"] = _without_retrieval(settings["ranker"])
    settings["blend"]["parts"] = [_without_retrieval(part) for part in settings["blend"]["parts"]]
    return settings
