"""Blend: several models learned together on one stream, mixed by their own recent loss (`models.mixture`)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from streamrec.features.batch import Batch
from streamrec.models.base import Model
from streamrec.models.mixture import learn_mixture, mix, mixture_bytes, new_mixture, set_mixture
from streamrec.models.named import its_own, named, parted
from streamrec.models.recall import Recall
from streamrec.models.settings import ModelSettings
from streamrec.state.rows import Table

__all__ = ["BlendModel", "Voice"]

_MIXTURE, _CLOCK, _RECALL = "mixture", "recall", "recall"  # blobs, table


class Voice(NamedTuple):
    """A model of a blend, and how many of an example's bags it sees: the first ones."""

    model: Model
    bags: int


class BlendModel:
    """Each part learns every example by itself; predictions are mixed by how well each did so far.

    Args:
        settings: task and feedback; of the mixture.
        parts: by name, which has no dot; names of their tables and blobs begin with it.

    """

    kind = "blend"

    def __init__(self, settings: ModelSettings, parts: Mapping[str, Voice]) -> None:
        self.parts = parts
        self.mixture = new_mixture(len(parts))
        self._options = *settings.link(), settings.blend.share
        self._recall = Recall(len(parts), settings.blend.keep_s)

    @property
    def tables(self) -> Mapping[str, Table]:
        """The parts', as `wide.linear`, and what was predicted for early negatives."""
        return {**named({name: part.model.tables for name, part in self.parts.items()}), **self._own}

    @property
    def _own(self) -> dict[str, Table]:
        return {_RECALL: self._recall.table}

    def learn(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Learn one example after another; returns each one's prediction made before, float32 (B,)."""
        predictions, mixed = self._each(batch), np.empty(len(batch), np.float32)
        for k, part in enumerate(self.parts.values()):
            predictions[k] = part.model.learn(batch.leading(part.bags))
        judged = self._recall.judged(batch, predictions)
        examples = (batch.role, batch.labels, batch.weights)
        learn_mixture(self.mixture, predictions, judged, examples, self._options, mixed)
        return mixed

    def predict(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Predictions float32 (B,); changes nothing."""
        predictions = self._each(batch)
        for k, part in enumerate(self.parts.values()):
            predictions[k] = part.model.predict(batch.leading(part.bags))
        return self._mixed(predictions, np.zeros_like(predictions))[0]

    def score(self, batch: Batch) -> np.ndarray[Any, Any]:
        """float32 (2, B): predictions, and how far one more example could move each logit, to first order."""
        predictions, bounds = self._each(batch), self._each(batch)
        for k, part in enumerate(self.parts.values()):
            predictions[k], bounds[k] = part.model.score(batch.leading(part.bags))
        return self._mixed(predictions, bounds)

    def blobs(self) -> Mapping[str, bytes]:
        """The mixture, and what the parts have."""
        own = {_MIXTURE: mixture_bytes(self.mixture), _CLOCK: self._recall.to_bytes()}
        return {**own, **named({name: part.model.blobs() for name, part in self.parts.items()})}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        if _MIXTURE in blobs:
            set_mixture(self.mixture, blobs[_MIXTURE])
            self._recall.restore(blobs[_CLOCK])
        for name, part in self.parts.items():
            part.model.restore(its_own(blobs, name))

    def shadow(self, table: str, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """As the part says whose table it is; what is kept for corrections is for the learner only."""
        if table in self._own:
            return np.ones(len(rows), np.bool_)
        name, its = parted(table)
        return self.parts[name].model.shadow(its, rows)

    def _mixed(self, predictions: np.ndarray[Any, Any], bounds: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """What `score` returns, of the parts' predictions and bounds float32 (K, B)."""
        scores = np.empty((2, predictions.shape[1]), np.float32)
        mix(self.mixture, predictions, bounds, self._options, scores)
        return scores

    def _each(self, batch: Batch) -> np.ndarray[Any, Any]:
        """Room for a number of each part and example, float32 (K, B)."""
        return np.empty((len(self.parts), len(batch)), np.float32)
