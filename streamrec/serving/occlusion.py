"""Occlusion: what a score would be without each field of its event. It asks nothing of the kind of model."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from streamrec.serving.generation import Mirror

__all__ = ["Occlusion", "leave_one_out", "logit", "predicts_ratings"]


class Occlusion(NamedTuple):
    """Predictions of some events, and of each without each of its fields, all from one commit."""

    fields: Sequence[Sequence[str]]  # of each event
    #: What computes them, float32: of each event its own, then those without its fields, in their order.
    predictions: Callable[[], np.ndarray]
    ratings: bool  # numbers without a link

    def effects(self) -> list[list[dict[str, Any]]]:
        """Of each event log-odds with minus log-odds without (of a rating, the rating), by field.

        Largest effect first (`api.Contribution`). Where fields act together, as in crosses, effects do not
        add up.
        """
        ends = np.cumsum([1 + len(its) for its in self.fields])
        parts = np.split(self.predictions().astype(np.float64), ends[:-1])
        return [self._of_one(names, its) for names, its in zip(self.fields, parts, strict=True)]

    def _of_one(self, names: Sequence[str], predictions: np.ndarray) -> list[dict[str, Any]]:
        logits = predictions if self.ratings else logit(predictions)
        effects = zip(names, (logits[0] - logits[1:]).tolist(), strict=True)
        return [
            {"feature": name, "contribution": it} for name, it in sorted(effects, key=lambda e: -abs(e[1]))
        ]


def leave_one_out(mirror: Mirror, lines: bytes, fields: Sequence[Sequence[str]]) -> Occlusion:
    """Take from the mirror, which must not change meanwhile, all that it takes.

    Args:
        mirror: of any kind.
        lines: the events, one at least.
        fields: of each, names of what it has: `user`, `item`, `features.NAME`.

    """
    return Occlusion(fields, mirror.predict_without(lines, fields), predicts_ratings(mirror))


def predicts_ratings(mirror: Mirror) -> bool:
    """Whether its predictions are numbers without a link, not probabilities."""
    return getattr(getattr(mirror, "settings", None), "task", "click") == "rating"


def logit(probability: np.ndarray) -> np.ndarray:
    """ln p − ln(1 − p), float64, of p clipped to what float32 can tell from 0 and 1."""
    p = np.clip(probability, 1e-9, 1 - 1e-9)
    result: np.ndarray = np.log(p) - np.log1p(-p)
    return result
