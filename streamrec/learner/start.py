"""Building a learner: a new model inferred from its stream, or a stored one where its last commit left it."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from streamrec.clock import Clock
from streamrec.errors import CutOff, StoreMismatch, UsageError
from streamrec.evaluation.guard_settings import GuardSettings
from streamrec.events.block import EXAMPLE, IMPRESSION, RATING, EventBlock, Rejection
from streamrec.events.codec import decode_line
from streamrec.events.decoder import BlockDecoder
from streamrec.events.feedback import CORRECTION
from streamrec.events.model import Event
from streamrec.features.infer import SAMPLE, infer_spec
from streamrec.features.spec import FeatureSpec
from streamrec.join.decode import first_records
from streamrec.join.reader import read
from streamrec.join.settings import JoinSettings
from streamrec.learner.arrivals import ARRIVALS, Arrivals
from streamrec.learner.loop import COPY, CUT_OFF, MODEL, Learner, Parts
from streamrec.learner.measures import Measures
from streamrec.learner.order import ORDER, Order
from streamrec.learner.progress import Progress
from streamrec.learner.report import Report
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.stored import blobs_of
from streamrec.models.pipeline import Pipeline
from streamrec.models.registry import KINDS
from streamrec.models.settings import ModelSettings
from streamrec.store.base import Lease, Store
from streamrec.transport.again import again
from streamrec.transport.base import Source
from streamrec.transport.deadletter import FileLetters
from streamrec.transport.registry import NOWHERE, letters_name, open_letters
from streamrec.transport.writer import LineWriter

__all__ = ["INFER_FROM", "Plan", "Started", "start"]

_log = logging.getLogger("streamrec")

#: Examples from which a feature spec is inferred: enough to see every kind of event and how often values
#: repeat, few enough to be there within seconds on a live topic. What comes in between does not count, so
#: that a stream of impressions and the examples that they become suggest the same.
INFER_FROM = SAMPLE
#: Records that are looked at for them, at most: a catalogue may come first.
_MOST_RECORDS = 20 * INFER_FROM
#: When whoever waits for these records is told so, and how often again.
_TELL_AFTER_S, _TELL_EVERY_S = 2.0, 30.0


@dataclass(frozen=True)
class Plan:
    """What to learn, into which model, with which outputs.

    Attributes:
        name: of the model in the store.
        fresh: forget what the store has under this name.
        model: None takes the stored model's, or the recommended one.
        features: None takes the stored model's, or infers them.
        join: settings of joining; their task is the model's, whatever is here.
        learner: settings of the loop.
        rejects: where dead letters go, see `transport.registry.open_letters`.
        predictions: file for progressive predictions.
        slices: field by whose values the metrics are also told apart.
        guards: alarms, and what ends learning.

    """

    name: str = "default"
    fresh: bool = False
    model: ModelSettings | None = None
    features: FeatureSpec | None = None
    join: JoinSettings = field(default_factory=JoinSettings)
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    rejects: str = NOWHERE
    predictions: Path | None = None
    slices: str | None = None
    guards: GuardSettings = field(default_factory=GuardSettings)


@dataclass(frozen=True)
class Started:
    """A learner ready to run, and what its caller wants to look at."""

    learner: Learner
    parts: Parts
    resumed_seq: int  # 0 for a new model

    def result(self, report: Report) -> dict[str, Any]:
        """What a run gave, over the whole stream also after a resume (DESIGN 7)."""
        pipeline, measures = self.parts.pipeline, self.parts.measures
        weights, nonzero = pipeline.count_weights()
        rate = report.examples_per_s
        return {
            "events": report.events,
            "examples": report.examples,
            "rejected": report.rejected,
            **measures.result(),
            "examples_per_s": None if rate is None else round(rate, 1),
            "weights": weights,
            "nonzero": nonzero,
            "state_sha256": pipeline.state_sha256(),
        }


def start(plan: Plan, source: Source, store: Store, clock: Clock) -> Started:
    """Take the model over and put everything where its last commit was.

    1. See whether it can be continued as asked: a learner that runs is not disturbed by a mistake.
    2. Become its learner: older learners are fenced from here on.
    3. Load its last generation, shadow rows too; or infer a new model from the first records.
    4. Cut the output files where that commit saw them.

    Raises:
        CutOff: the guards stopped this model.
        StoreMismatch: the stored model is another one than was asked for.
        UsageError: an output file cannot be written or is not the one of the earlier run.

    """
    _check_stored(plan, store)  # 1
    lease = store.acquire(plan.name, fresh=plan.fresh)  # 2
    try:
        return _begun(plan, source, store, lease, clock)
    except BaseException:
        lease.close(flush=False)
        raise


def _begun(plan: Plan, source: Source, store: Store, lease: Lease, clock: Clock) -> Started:
    """Steps 3 and 4."""
    snapshot = store.load(plan.name, shadow=True)  # 3
    if snapshot.head.seq:
        blobs = snapshot.blobs
        pipeline = Pipeline.from_blob(blobs[MODEL])
        progress, measures = (
            Progress.from_blobs(blobs),
            Measures(pipeline.settings.task, plan.slices, plan.guards),
        )
        order, turns, arrivals = Order(progress.names), [], Arrivals()
        for table, rows in snapshot.pieces:
            if table == ORDER:
                turns.append(rows)
            elif table == ARRIVALS:
                arrivals.apply(rows)
            else:
                pipeline.apply(table, rows)
        order.restore(turns)
        pipeline.restore(blobs)
        measures.restore(blobs)
        _log.info("model %r goes on from commit %d", plan.name, snapshot.head.seq)
    else:
        settings, progress = plan.model or ModelSettings(), Progress()
        measures = Measures(settings.task, plan.slices, plan.guards)
        order, arrivals = Order(progress.names), Arrivals()
        spec = plan.features
        if spec is None:
            source = ahead = again(source)
            spec = _inferred(_first_records(source, order, plan, clock), settings, plan.join.reach_ms)
            ahead.rewind()
        pipeline = Pipeline(settings, spec)
        _log.info("model %r is new", plan.name)
    rejects = open_letters(  # 4
        plan.rejects,
        plan.name,
        progress.rejects.get(letters_name(plan.rejects)),
        lambda: store.head(plan.name).epoch == lease.epoch,
    )
    predictions = None
    if plan.predictions is not None:
        predictions = LineWriter(plan.predictions, resume_at=progress.predictions_bytes or 0)
    parts = Parts(source, pipeline, lease, measures, progress, order, arrivals, rejects, predictions)
    join = plan.join.model_copy(update={"task": pipeline.settings.task})
    return Started(Learner(parts, snapshot.head, join, plan.learner, clock), parts, snapshot.head.seq)


def _check_stored(plan: Plan, store: Store) -> None:
    """What would stop this learner must stop it before it takes the model from the one that runs."""
    rejects = Path(plan.rejects) if letters_name(plan.rejects) == FileLetters.name else None
    for output in (rejects, plan.predictions):
        if output is not None and not output.absolute().parent.is_dir():
            raise UsageError(f"{output}: cannot be written: there is no folder {output.absolute().parent}")
    if not store.head(plan.name).seq:
        return
    blobs = blobs_of(store, plan.name)
    if COPY in blobs:
        raise UsageError(
            f"model {plan.name!r} is a named generation, which stays as it is: expected another --name; "
            "streamrec models rollback makes its model go on from it"
        )
    if plan.fresh:
        return
    if CUT_OFF in blobs:
        raise CutOff(json.loads(blobs[CUT_OFF])["reason"])
    _check_same(plan, Pipeline.from_blob(blobs[MODEL]))
    progress = Progress.from_blobs(blobs)
    marks = (
        (rejects, progress.rejects.get(FileLetters.name)),
        (plan.predictions, progress.predictions_bytes),
    )
    for output, mark in marks:
        if output is not None and mark is None and output.is_file() and output.stat().st_size:
            raise UsageError(
                f"{output}: already has lines, but no earlier run of {plan.name!r} wrote it: "
                "name a new file, or start over with --fresh"
            )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of parts by names like feedback.policy and blend.parts.0.kind."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        its = value
        if isinstance(value, tuple) and any(isinstance(part, dict) for part in value):
            its = {str(i): part for i, part in enumerate(value)}
        if isinstance(its, dict):
            flat |= {f"{name}.{part}": each for part, each in _flat(its).items()}
        else:
            flat[name] = value
    return flat


def _check_same(plan: Plan, pipeline: Pipeline) -> None:
    """What the user asked for must be what the stored model is."""
    if plan.model is not None and plan.model != pipeline.settings:
        given, stored = _flat(plan.model.model_dump()), _flat(pipeline.settings.model_dump())
        key = next(key for key in {**given, **stored} if given.get(key) != stored.get(key))
        was, asked = stored.get(key), given.get(key)
        raise StoreMismatch(
            f"model {plan.name!r} was learned with {key} = {was}, but {asked} is asked for: "
            "leave it away to go on, or start over with --fresh"
        )
    features = plan.features
    if features is not None and pipeline.spec not in (features, features.without_sides()):
        raise StoreMismatch(
            f"model {plan.name!r} was learned with other features than the settings file names: "
            "use the file it was made with, or start over with --fresh"
        )


def _first_records(source: Source, order: Order, plan: Plan, clock: Clock) -> list[bytes]:
    """The first events, in the order in which they will be learned; what that takes is kept in `order`."""
    lines: list[bytes] = []
    found: set[tuple[int, int]] = set()
    n_records, tell_at_s = 0, clock.monotonic_s() + _TELL_AFTER_S
    for decoded in read(source, BlockDecoder(), clock, plan.learner.partition_wait_s):
        if clock.monotonic_s() >= tell_at_s:
            tell_at_s = clock.monotonic_s() + _TELL_EVERY_S
            _log.warning(
                "waiting for %d examples to infer features from, %d so far; "
                "a settings file with [features] starts at once (--config)",
                INFER_FROM,
                len(found),
            )
        if decoded is None:
            continue
        for turn in decoded.turns:
            order.add(source.stream, turn)
        first = first_records(decoded, _MOST_RECORDS - n_records)
        lines += first.lines()
        n_records += decoded.n_records
        found |= _samples(first.block)
        if len(found) >= INFER_FROM or n_records >= _MOST_RECORDS:
            break
    return lines


def _samples(block: EventBlock) -> set[tuple[int, int]]:
    """(type, id) of the events that `infer_spec` looks at."""
    types = np.isin(block.type, (IMPRESSION, RATING, EXAMPLE)) & (block.role < CORRECTION)
    return set(zip(block.type[types].tolist(), block.key[types].tolist(), strict=True))


def _inferred(lines: list[bytes], settings: ModelSettings, window_ms: int) -> FeatureSpec:
    link: Literal["logit", "identity"] = "identity" if settings.task == "rating" else "logit"
    return infer_spec(_distinct(lines), KINDS[settings.kind].style, window_ms, link)


def _distinct(lines: list[bytes]) -> Iterator[Event]:
    """Where the joiner will refuse the second of two, so does this."""
    seen: set[tuple[str, str]] = set()
    for line in lines:
        event = decode_line(line)
        if not isinstance(event, Rejection) and (event.type, event.id) not in seen:
            seen.add((event.type, event.id))
            yield event
