"""Extractor and model behind one face: what the learner trains and the scorer mirrors."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from streamrec.errors import StoreMismatch
from streamrec.events.block import EventBlock, Examples
from streamrec.events.example_reader import ExampleReader, labelled
from streamrec.events.feedback import ARRIVAL, CATALOGUE, CONFIRMED
from streamrec.events.omission import omissions, variants
from streamrec.events.request import Request
from streamrec.features.batch import Batch
from streamrec.features.extract import Extractor
from streamrec.features.spec import FeatureSpec
from streamrec.join.gather import part, picked
from streamrec.models.catalogue import NAMED, Catalogue
from streamrec.models.description import built, description
from streamrec.models.inputs import inputs_of
from streamrec.models.registry import build_model
from streamrec.models.retriever import Query, Retriever
from streamrec.models.settings import ModelSettings
from streamrec.state.rows import Rows, Table

if TYPE_CHECKING:
    from streamrec.models.excerpt import Excerpt

__all__ = ["Pipeline"]


class Pipeline:
    """One model with its features.

    Its state is its `tables` and its `blobs`: what a commit stores, what a scorer mirrors.

    Args:
        settings: kind and parameters of the model.
        spec: its features, frozen from now on.

    Attributes:
        retriever: finds items, where the kind has one.
        catalogue: names and features of items, where there is a retriever.

    """

    def __init__(self, settings: ModelSettings, spec: FeatureSpec) -> None:
        self.settings = settings
        self.extractor = Extractor(spec)
        self.model = build_model(settings, inputs_of(self.extractor))
        self.spec = spec if settings.kind == "two_tower" else spec.without_sides()
        self.retriever: Retriever | None = getattr(self.model, "retriever", None)
        self.catalogue = None
        if self.retriever is not None:
            ttl_s = settings.expiring_retrieval().expire_after_s
            self.catalogue = Catalogue(self.retriever.item_features, ttl_s)
        named = self.catalogue.tables if self.catalogue is not None else {}
        self.tables: Mapping[str, Table] = {**self.model.tables, **self.extractor.tables, **named}
        self._reader = ExampleReader(self.extractor.text_fields)
        self._excerpt: Excerpt | None = None

    @classmethod
    def from_blob(cls, blob: bytes) -> Self:
        """An empty pipeline as `describe` wrote it down.

        Raises:
            StoreMismatch: written by another version.

        """
        return built(blob, cls)

    def describe(self) -> bytes:
        """Kind, settings and spec as one JSON object: the commit's blob "model"."""
        return description(self.settings, self.spec)

    def learn(self, examples: Examples, fields: Sequence[str]) -> np.ndarray[Any, Any]:
        """Learn one example after another: those that are to be learned by their role.

        Args:
            examples: the next of the stream.
            fields: names of the decoder's fields.

        Returns:
            float32 (B,), each one's prediction made before it was learned; NaN of a CONFIRMED, CATALOGUE.

        """
        roles = examples.role
        if not (roles >= CONFIRMED).any():
            return self.model.learn(self.extractor.extract(examples, fields))
        predictions = np.full(len(examples), np.nan, np.float32)
        predicted = roles != CONFIRMED
        predictions[predicted] = self._in_runs(picked(examples, predicted), fields)
        return predictions

    def _in_runs(self, examples: Examples, fields: Sequence[str]) -> np.ndarray[Any, Any]:
        """Predict each run of ARRIVALs, as a scorer would at that point of the stream; learn the others."""
        turns = np.where(examples.role >= ARRIVAL, examples.role, 0)
        ends = [*(np.flatnonzero(turns[1:] != turns[:-1]) + 1).tolist(), len(examples)]
        predictions, start = np.full(len(examples), np.nan, np.float32), 0
        for end in ends:
            run = part(examples, start, end)
            if end > start and turns[start] == CATALOGUE:
                self._see_items(run, fields)
            elif end > start and turns[start] == ARRIVAL:
                predictions[start:end] = self.model.predict(self.extractor.preview(run, fields))
            elif end > start:
                predictions[start:end] = self.model.learn(self.extractor.extract(run, fields))
            start = end
        return predictions

    def _see_items(self, run: Examples, fields: Sequence[str]) -> None:
        assert self.retriever is not None  # else nobody asks the joiner for events of the catalogue
        self.retriever.see_items(self.extractor.preview(run, fields), run.item, run.labels > 0)

    def read_items(self, block: EventBlock, data: bytes) -> None:
        """Take names and features of items from the next events, before they are learned."""
        if self.catalogue is not None:
            self.catalogue.see(block, data)

    def blobs(self) -> dict[str, bytes]:
        """State that is not in a table."""
        of_items = self.catalogue.blobs() if self.catalogue is not None else {}
        return {**self.extractor.blobs(), **self.model.blobs(), **of_items}

    def restore(self, blobs: Mapping[str, bytes]) -> None:
        """Take back what `blobs` gave."""
        self.extractor.restore(blobs)
        self.model.restore(blobs)
        if self.catalogue is not None:
            self.catalogue.restore(blobs)

    def take_changed(self) -> dict[str, Rows]:
        """Rows that changed since the last call, by table."""
        changed = {}
        for name, table in self.tables.items():
            ids, rows, deleted = table.take_changed()
            if len(ids) or len(deleted):
                changed[name] = Rows(ids, rows, self._shadow(name, rows), deleted)
        return changed

    def trouble(self, changed: Mapping[str, Rows]) -> str:
        """Which of the model's changed rows are of no use; empty where all weights are finite."""
        for name, table in self.model.tables.items():
            if name in changed and table.numbers and not np.isfinite(changed[name].rows).all():
                served = changed[name].rows[~changed[name].shadow]
                bad = int(np.count_nonzero(~np.isfinite(served).all(axis=1)))
                if bad:
                    return f"{bad:,} rows of table {name!r} are not finite"
        return ""

    def apply(self, table: str, rows: Rows) -> None:
        """Take over rows from a store; they do not count as changed.

        Raises:
            StoreMismatch: the model has no such table, or rows of another width.

        """
        target = self._target(table, rows.rows.shape)
        if len(rows.deleted):
            target.delete(rows.deleted, changed=False)
        target.upsert(rows.ids, rows.rows, changed=False)

    def _target(self, table: str, shape: tuple[int, ...]) -> Table:
        """The table of this name, StoreMismatch if it does not take rows of this shape (N, W)."""
        target = self.tables.get(table)
        if target is None or shape[1:] != (target.width,):
            expected = ", ".join(f"{name} of width {t.width}" for name, t in self.tables.items())
            raise StoreMismatch(f"stored table {table!r} of shape {shape}: expected {expected}")
        return target

    def state_sha256(self) -> str:
        """SHA-256 over model description, blobs and every row in canonical order."""
        sha = hashlib.sha256(self.describe())
        for key, blob in sorted(self.blobs().items()):
            sha.update(f"{key}:{len(blob)}:".encode())
            sha.update(blob)
        for name in sorted(self.tables):
            sha.update(name.encode())
            sha.update(self.tables[name].digest())
        return sha.hexdigest()

    def count_weights(self) -> tuple[int, int]:
        """(rows of the model, rows with any influence on a prediction)."""
        total = nonzero = 0
        for name, table in self.model.tables.items():
            for ids, rows in table.pieces():
                total += len(ids)
                nonzero += len(ids) - int(np.count_nonzero(self.model.shadow(name, rows)))
        return total, nonzero

    def score_lines(self, data: bytes) -> np.ndarray[Any, Any]:
        """float32 (2, N) of N JSON lines, each an `example` event, by the learner's own path.

        Predictions, and how far one more example could move each line's logit. Changes nothing.

        Raises:
            RecordError: a line is no valid `example`.

        """
        return self.model.score(self.preview_lines(data))

    def preview_lines(self, data: bytes) -> Batch:
        """What `score_lines` predicts from; its memory is that of the extractor and the decoder, used again
        by whoever asks next.

        Raises:
            RecordError: a line is no valid `example`.

        """
        return self.extractor.preview(*self._reader.examples(data))

    def predict_without(
        self, data: bytes, left_out: Sequence[Sequence[str]]
    ) -> Callable[[], np.ndarray[Any, Any]]:
        """Predictions of lines, each followed by what it would be without each of some fields.

        Args:
            data: N JSON lines, each an `example` event, N ≥ 1.
            left_out: of each, `user`, `item` and `features.NAME`, in any order.

        Returns:
            What computes them from what was read now; the pipeline may go on meanwhile. float32, of line i
            1 + len(left_out[i]) numbers; the bits are those of `score_lines`.

        Raises:
            RecordError: a line is no valid `example`.

        """
        examples, fields = self._reader.examples(data)
        parts = variants(examples, omissions(left_out, fields))
        first = self.extractor.preview(next(parts), fields)
        rest = [self.model.predict(self.extractor.preview(part, fields)) for part in parts]
        excerpt = self._excerpted()
        if not excerpt.is_enough:
            predictions = np.concatenate([self.model.predict(first), *rest])
            return lambda: predictions
        taken = excerpt.take(first)
        return lambda: np.concatenate([excerpt.predict(taken, first), *rest])

    def _excerpted(self) -> "Excerpt":
        if self._excerpt is None:
            from streamrec.models.excerpt import Excerpt  # knows all kinds, most of which nobody has
            from streamrec.models.keyed import keyed_tables

            inputs = inputs_of(self.extractor)
            self._excerpt = Excerpt(self.model, self.settings, inputs, keyed_tables(self))
        return self._excerpt

    def read_request(self, body: bytes, most: int) -> Request | None:
        """A request to rank, as `RequestDecoder.decode_request` gives it.

        Its examples are those that `score_lines` makes of the lines that `serving.lines` makes of it.
        """
        return self._reader.request(body, most)

    def score_request(
        self, request: Request, time_ms: int, *, confident: bool
    ) -> tuple[np.ndarray[Any, Any], Batch]:
        """As `score_lines`, of the B candidates that were taken, and their batch; changes nothing.

        Args:
            request: from `read_request`.
            time_ms: when the scores shall hold.
            confident: confidences are computed, too; else the result is float32 (1, B).

        """
        batch = self.extractor.preview(request.at(time_ms), request.fields)
        return (self.model.score(batch) if confident else self.model.predict(batch)[None]), batch

    def confidences(self, batch: Batch, examples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """float32 (b,): how far one more example could move the logits of those of these numbers."""
        return self.model.score(batch.taken(examples))[1]

    def query_lines(self, data: bytes) -> Query:
        """What to look up for N JSON lines, each an `example` event of a user; changes nothing.

        Raises:
            RecordError: a line is no valid `example`.

        """
        assert self.retriever is not None
        examples, fields = self._reader.examples(data)
        return self.retriever.query(self.extractor.preview(examples, fields), examples.user)

    def preview(self, block: EventBlock, fields: Sequence[str]) -> Batch:
        """What the model would predict these impressions, ratings and examples from; changes nothing.

        Args:
            block: of such events only.
            fields: names of the decoder's fields; it splits the words of `extractor.text_fields`.

        """
        return self.extractor.preview(labelled(block), fields)

    def _shadow(self, name: str, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if name in self.model.tables:
            return self.model.shadow(name, rows)
        return np.full(len(rows), name == NAMED)
