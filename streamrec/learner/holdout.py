"""Retrieval on a hold-out: some interactions are kept back, the rest is learned, then those are asked for."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from streamrec.clock import Clock
from streamrec.errors import UsageError
from streamrec.evaluation.retrieval import Index, ranks, shares
from streamrec.events.block import Examples
from streamrec.events.decoder import BlockDecoder
from streamrec.join.gather import concatenated, picked
from streamrec.join.joiner import Joiner
from streamrec.join.reader import read
from streamrec.learner.foresight import Foresight, interactions
from streamrec.learner.start import Plan, start
from streamrec.models.pipeline import Pipeline
from streamrec.store.memory import MemoryStore
from streamrec.transport.base import Source

__all__ = ["Holdout", "Recording", "evaluate", "holdout_share", "recorded"]


class Holdout(NamedTuple):
    """What is kept back.

    Attributes:
        share: of the interactions, above 0, below 1.
        seed: of which ones.
        epochs: how often the rest is learned, in order.
        every: one in so many of the rest is asked for before it is learned for the first time; 0: none.

    """

    share: float = 0.2
    seed: int = 0
    epochs: int = 1
    every: int = 0


class Recording(NamedTuple):
    """A stream in memory, and an empty model of it."""

    pipeline: Pipeline
    blocks: list[Examples]  # in the order in which they are learned
    fields: tuple[str, ...]  # the decoder's
    rejected: int

    def anew(self) -> "Recording":
        """The same with a model that is empty again."""
        return self._replace(pipeline=Pipeline.from_blob(self.pipeline.describe()))

    def held_out(self, holdout: Holdout) -> list[np.ndarray]:
        """Of each block, which interactions are kept back, bool (B,)."""
        rng = np.random.default_rng(holdout.seed)
        held = []
        for block in self.blocks:
            mask = np.zeros(len(block), np.bool_)
            at = np.flatnonzero(interactions(block))
            mask[at] = rng.random(len(at)) < holdout.share
            held.append(mask)
        return held


def holdout_share(text: str) -> float:
    """The share that `random:0.2` names.

    Raises:
        UsageError: it names none between 0 and 1.

    """
    match = re.fullmatch(r"random:(\d*\.?\d+)", text.strip())
    if match is None or not 0.0 < float(match[1]) < 1.0:
        raise UsageError(
            f"--holdout {text}: expected random: and a share between 0 and 1, such as random:0.2"
        )
    return float(match[1])


def recorded(plan: Plan, source: Source, clock: Clock) -> Recording:
    """Read a stream to its present end, joined as it would be learned; nothing is learned.

    Raises:
        UsageError: the plan's model finds no items.

    """
    started = start(plan, source, MemoryStore("evaluate"), clock)
    parts = started.parts
    pipeline = parts.pipeline
    if pipeline.retriever is None:
        kind = pipeline.settings.kind
        parts.close(flush=False)
        raise UsageError(f"model of kind {kind!r}: it ranks items but finds none: take --model two_tower")
    decoder = BlockDecoder(text_fields=pipeline.extractor.text_fields)
    joiner = Joiner(plan.join.model_copy(update={"task": pipeline.settings.task}), items=True)
    blocks, rejected = [], 0
    for decoded in read(parts.source, decoder, clock, plan.learner.partition_wait_s):
        if decoded is not None:
            joined = joiner.push(decoded.block, decoded.data, decoded.places)
            blocks.append(joined.examples)
            rejected += len(decoded.refused) + len(joined.refused)
    ended = joiner.finish()
    blocks.append(ended.examples)
    parts.close(flush=False)
    return Recording(pipeline, blocks, tuple(decoder.fields), rejected + len(ended.refused))


def evaluate(recording: Recording, holdout: Holdout) -> dict[str, Any]:
    """Learn what is not held out, `epochs` times, then find what is.

    Returns:
        `top_1` … and `unseen_top_1` …: the share of held-out interactions whose item is among the first k of
        all items, and of those that their user did not take in what was learned; how many there were.
        The same of what was asked for before it was learned as `progressive_top_1` … where that is wished.

    Raises:
        UsageError: there is nothing to learn from, or nothing is held out.

    """
    held = recording.held_out(holdout)
    learned = [picked(block, ~mask) for block, mask in zip(recording.blocks, held, strict=True)]
    asked = concatenated(
        [picked(b, mask) for b, mask in zip(recording.blocks, held, strict=True) if mask.any()]
    )
    n_learned = sum(int(interactions(block).sum()) for block in learned)
    if not n_learned or not len(asked):
        raise UsageError(
            "expected interactions (clicks or ratings of a user and an item) to learn from and to hold out, "
            f"got {n_learned} and {len(asked)}, and {recording.rejected} rejected records: "
            "is it the right stream, and long enough for this --holdout?"
        )
    pipeline, fields = recording.pipeline, recording.fields
    progressive = _learn(recording, learned, holdout)
    retriever = pipeline.retriever
    assert retriever is not None
    index = Index.of(pipeline.tables[retriever.table])
    batch = pipeline.extractor.preview(asked, fields)
    found = ranks(retriever, index, batch, dict(_taken(learned)))
    return {
        "learned": n_learned,
        "held_out": len(asked),
        "items": len(index.ids),
        "rejected": recording.rejected,
        "epochs": holdout.epochs,
        **shares(found),
        **progressive,
    }


def _learn(recording: Recording, blocks: list[Examples], holdout: Holdout) -> dict[str, Any]:
    """Learn all epochs; what the first one foresaw."""
    pipeline, fields, told = recording.pipeline, recording.fields, {}
    for epoch in range(holdout.epochs):
        if holdout.every and not epoch:
            items = np.unique(np.concatenate([block.item for block in blocks]))
            foresight = Foresight(pipeline, fields, items, holdout.every)
            for block in blocks:
                foresight.learn(block)
            found = foresight.found
            told = {"asked": found.shape[1], **shares(found, ("progressive_", "progressive_unseen_"))}
        else:
            for block in blocks:
                if len(block):
                    pipeline.learn(block, fields)
    return told


def _taken(blocks: list[Examples]) -> Iterator[tuple[int, np.ndarray]]:
    """User and what that user took, uint64."""
    whole = [picked(block, interactions(block)) for block in blocks]
    users, items = (np.concatenate([getattr(b, name) for b in whole]) for name in ("user", "item"))
    order = np.argsort(users, kind="stable")
    each, firsts = np.unique(users[order], return_index=True)
    for user, its in zip(each.tolist(), np.split(items[order], firsts[1:]), strict=True):
        yield user, np.unique(its)
