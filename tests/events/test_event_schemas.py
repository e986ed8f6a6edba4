"""The published schemas are those of the models, and the samples are valid by both."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from streamrec.events.block import EVENT_TYPES, Rejection
from streamrec.events.codec import decode_line, encode
from streamrec.events.decoder import BlockDecoder
from streamrec.events.schema import export, schema

SCHEMAS = Path(__file__).parents[2] / "schemas"


def samples(event_type: str) -> list[bytes]:
    return (SCHEMAS / event_type / "samples.jsonl").read_bytes().splitlines()


def test_published_schemas_are_those_of_the_models(tmp_path: Path) -> None:
    for written in export(tmp_path):
        published = SCHEMAS / written.relative_to(tmp_path)
        assert published.read_text("utf-8") == written.read_text("utf-8"), (
            f"run `streamrec schemas`: {published}"
        )


def test_every_type_has_its_folder() -> None:
    assert sorted(path.name for path in SCHEMAS.iterdir() if path.is_dir()) == sorted(EVENT_TYPES)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_samples_are_valid(event_type: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(event_type))
    validator = jsonschema.Draft202012Validator(schema(event_type))
    lines = samples(event_type)
    assert len(lines) >= 2
    for line in lines:
        validator.validate(json.loads(line))
        event = decode_line(line)
        assert not isinstance(event, Rejection)
        assert decode_line(encode(event)) == event
    block, rejections = BlockDecoder().decode(b"".join(line + b"\n" for line in lines))
    assert not rejections
    assert np.all(block.type == EVENT_TYPES.index(event_type))
    assert len(np.unique(block.key)) == len(lines)


@pytest.mark.parametrize(
    ("event_type", "change"),
    [
        ("impression", {"propensity": 0}),
        ("impression", {"features": None}),
        ("impression", {"position": -1}),
        ("click", {"impression": ""}),
        ("click", {"type": "clicks"}),
        ("rating", {"rating": "5"}),
        ("rating", {"user": None}),
        ("item", {"features": None}),
        ("item", {"features": {"a": [1]}}),
        ("example", {"label": True}),
        ("example", {"weight": -1}),
        ("example", {"time": 32503680000000}),
        ("example", {"feedback": "late"}),
        ("example", {"feedback": "correction"}),
        ("example", {"feedback": "confirmed", "impression": None}),
        ("example", {"feedback": "arrival", "impression": ""}),
        ("example", {"features": {"a": {}}}),
        ("example", {"features": {f"f{i}": 1 for i in range(4097)}}),
    ],
)
def test_schema_and_models_reject_alike(event_type: str, change: dict[str, object]) -> None:
    record = {**json.loads(samples(event_type)[0]), **change}
    assert not jsonschema.Draft202012Validator(schema(event_type)).is_valid(record)
    assert isinstance(decode_line(json.dumps(record).encode()), Rejection)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_type_id_and_time_are_required(event_type: str) -> None:
    assert {"type", "id", "time"} <= set(schema(event_type)["required"])
