"""The files of `streamrec inspect --crosses`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from streamrec.errors import UsageError
from streamrec.evaluation.crosses import learned_strengths, needs_examples
from streamrec.evaluation.curves import check_plot
from streamrec.evaluation.heat_map import draw_heat_map
from streamrec.events.block import EXAMPLE, IMPRESSION, RATING
from streamrec.events.decoder import BlockDecoder
from streamrec.features.batch import Batch
from streamrec.join.decode import decode_chunk, first_records
from streamrec.join.select import selected
from streamrec.models.pipeline import Pipeline
from streamrec.transport.registry import open_source

__all__ = ["write_heat_map"]

#: Pairs that the command shows by itself; all are in the files.
_SHOWN = 5


def write_heat_map(pipeline: Pipeline, name: str, path: Path, over: str | None, limit: int) -> dict[str, Any]:
    """Write PATH.png and PATH.json; returns their names and the strongest pairs.

    Args:
        pipeline: the stored model.
        name: its name.
        path: of the files, without or with one of their endings.
        over: stream of examples.
        limit: how many records of it to read.

    Raises:
        UsageError: the model has no crosses, or a stream is needed to see them in; a file cannot be written.

    """
    stem = path.with_suffix("") if path.suffix in (".png", ".json") else path
    image, values = (stem.with_name(f"{stem.name}{ending}") for ending in (".png", ".json"))
    check_plot(image)
    if needs_examples(pipeline) and over is None:
        raise UsageError(
            f"--crosses: model {name!r} has its crosses under hashed ids: name a stream to see them in, "
            "such as the one it was learned from: --over events.jsonl"
        )
    strengths = learned_strengths(pipeline, _batches(pipeline, over, limit) if over is not None else ())
    title = f"{name} ({pipeline.settings.kind})"
    draw_heat_map(image, strengths.fields, strengths.strength, title, strengths.measure)
    described = {"model": name, "kind": pipeline.settings.kind, **strengths.as_json()}
    values.write_text(json.dumps(described, indent=1) + "\n", "utf-8")
    strongest = [f"{a} × {b}: {strength:.4g}" for a, b, strength in strengths.pairs()[:_SHOWN]]
    return {"png": str(image), "json": str(values), "strongest": strongest}


def _batches(pipeline: Pipeline, stream: str, limit: int) -> Iterator[Batch]:
    """The first records of a stream, as the model would predict them."""
    decoder = BlockDecoder(text_fields=pipeline.extractor.text_fields)
    source = open_source(stream)
    try:
        while limit > 0 and (chunk := source.read()) is not None:
            decoded = first_records(decode_chunk(chunk, decoder), limit)
            limit -= decoded.n_records
            with_features = np.isin(decoded.block.type, (IMPRESSION, RATING, EXAMPLE))
            if with_features.any():
                block = selected(decoded.block, np.flatnonzero(with_features))
                yield pipeline.preview(block, decoder.fields)
    finally:
        source.close()
