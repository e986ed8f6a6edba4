"""Which fields of a served model act together, over what was scored of late."""

from collections.abc import Sequence
from typing import Any

from streamrec.errors import UsageError
from streamrec.evaluation.crosses import learned_strengths, needs_examples
from streamrec.models.pipeline import Pipeline
from streamrec.serving.scorer import Scorer
from streamrec.serving.weights import previewed

__all__ = ["seen_crosses"]

#: More fields than this no screen shows as a map.
_MOST_FIELDS = 64


def seen_crosses(scorer: Scorer, lines: Sequence[bytes]) -> tuple[dict[str, Any] | None, str, int]:
    """Strengths as JSON-ready values, or why there are none; and over how many examples.

    Cross layers are seen without examples, too: by the size of their kernels.

    Args:
        scorer: of the model.
        lines: that were scored.

    Raises:
        StoreUnavailable: there is no complete generation.

    """
    pipeline, batch = previewed(scorer, lines)
    if not isinstance(pipeline, Pipeline):
        return None, "this kind of model is not known here", 0
    n = len(lines) if batch is not None else 0
    try:
        if batch is None and needs_examples(pipeline):
            return None, "linear crosses are seen in examples only: none were scored yet", 0
        with scorer.reading():
            strengths = learned_strengths(pipeline, [] if batch is None else [batch])
    except UsageError as error:
        return None, str(error), 0
    if len(strengths.fields) > _MOST_FIELDS:
        return None, f"{len(strengths.fields)} fields: more than a map can show", n
    return strengths.as_json(), "", n
