"""What `/v1/model` tells: the state of the mirrored generation."""

from streamrec.errors import StoreUnavailable
from streamrec.serving.alarm import CUT_OFF, stopped
from streamrec.serving.api import ModelState
from streamrec.serving.generation import json_value
from streamrec.serving.scorer import Scorer

__all__ = ["model_state"]


def model_state(scorer: Scorer) -> ModelState:
    """The state of what is served now.

    Raises:
        StoreUnavailable: there is no complete generation yet.

    """
    generation = scorer.generation
    if generation is None:
        raise StoreUnavailable(scorer.status().reason)
    with generation.reading() as (_, version):
        tables = generation.sizes()
        spec, metrics, position = (
            json_value(generation.blob(name)) for name in ("model", "metrics", "position")
        )
    return ModelState(
        name=scorer.model,
        kind=spec.get("kind") if isinstance(spec, dict) else None,
        retrieves=generation.items is not None,
        seq=version.seq,
        epoch=version.epoch,
        time_ms=version.time_ms,
        staleness_ms=scorer.staleness_ms(version),
        weights=sum(tables.values()),
        tables=tables,
        position=position if isinstance(position, dict) else None,
        metrics=metrics if isinstance(metrics, dict) else None,
        spec=spec,
        stopped=stopped(generation.blob(CUT_OFF)),
    )
