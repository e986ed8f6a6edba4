"""A pipeline with a retriever whose vectors a test sets itself; ranker, catalogue and tables are the real ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamrec.events.decoder import BlockDecoder
from streamrec.features.spec import FeatureSpec, Field
from streamrec.hashing import hash_text
from streamrec.models.pipeline import Pipeline
from streamrec.models.retriever import Boosts, Query
from streamrec.models.settings import ModelSettings
from streamrec.state.table import SparseTable
from streamrec.store.base import Commit, Lease

DIM = 3
SPEC = FeatureSpec(
    fields=(
        Field(name="user", kind="category"),
        Field(name="item", kind="category"),
        Field(name="genres", kind="bag"),
    )
)


class SetRetriever:
    """Answers what it was told; of nobody in particular the vector (0, 0, 1)."""

    table = "item_vectors"
    item_features: Sequence[str] = ("genres", "year")

    def __init__(self) -> None:
        self.vectors = SparseTable(DIM)
        self.repeat = 0.0
        self.users: dict[int, tuple[list[float], dict[str, float], list[str]]] = {}

    def know(
        self, user: str, vector: list[float], boosts: Mapping[str, float] = {}, seen: Sequence[str] = ()
    ) -> None:
        self.users[hash_text(user)] = (vector, dict(boosts), list(seen))

    def query(self, batch: Any, users: np.ndarray) -> Query:
        known = [self.users.get(user, ([0.0, 0.0, 1.0], {}, [])) for user in users.tolist()]
        return Query(
            np.array([vector for vector, _, _ in known], np.float32),
            [Boosts(ids_of(boosts), np.array(list(boosts.values()), np.float32)) for _, boosts, _ in known],
            [ids_of(seen) for _, _, seen in known],
            self.repeat,
        )

    def see_items(self, batch: Any, items: np.ndarray, deleted: np.ndarray) -> None:
        self.vectors.delete(items[deleted])


def ids_of(names: Sequence[str] | Mapping[str, float]) -> np.ndarray:
    return np.array([hash_text(name) for name in names], np.uint64)


class Shelf:
    """A learner of such a model: items with vectors and features, committed when told."""

    def __init__(self, lease: Lease, settings: ModelSettings | None = None, spec: FeatureSpec = SPEC) -> None:
        self.pipeline = _Small(settings or ModelSettings(kind="ftrl"), spec)
        self.retriever: SetRetriever = self.pipeline.retriever  # type: ignore[assignment]
        self._lease, self.seq = lease, 0
        self._decoder = BlockDecoder()

    def put(self, vectors: Mapping[str, Sequence[float]], features: str = "{}") -> None:
        """Items with vectors; features as JSON."""
        lines = [f'{{"type":"item","id":"{name}","time":0,"features":{features}}}\n' for name in vectors]
        data = "".join(lines).encode()
        self.pipeline.read_items(self._decoder.decode(data)[0], data)
        if vectors:
            rows = np.array(list(vectors.values()), np.float32)
            self.retriever.vectors.upsert(ids_of(list(vectors)), rows)

    def drop(self, *names: str) -> None:
        self.retriever.vectors.delete(ids_of(names))

    def commit(self) -> int:
        self.seq += 1
        blobs = {"model": self.pipeline.describe(), **self.pipeline.blobs()}
        self._lease.commit(Commit(self.seq, self.pipeline.take_changed(), blobs, 1_000 * self.seq))
        return self.seq


class _Small(Pipeline):
    def __init__(self, settings: ModelSettings, spec: FeatureSpec) -> None:
        from streamrec.models.catalogue import Catalogue

        super().__init__(settings, spec)
        self.retriever = retriever = SetRetriever()
        self.catalogue = Catalogue(retriever.item_features)
        self.tables = {**self.tables, retriever.table: retriever.vectors, **self.catalogue.tables}


def mirror(shelf: Shelf) -> Any:
    """What a scorer builds its mirrors by: what users are like is shared with the learner's retriever."""

    def build(blob: bytes) -> Pipeline:
        pipeline = _Small.from_blob(blob)
        pipeline.retriever.repeat = shelf.retriever.repeat  # type: ignore[union-attr]
        pipeline.retriever.users = shelf.retriever.users  # type: ignore[union-attr]
        return pipeline

    return build
