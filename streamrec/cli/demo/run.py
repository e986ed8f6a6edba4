"""The parts of the demo put together: audience → Kafka → learner → Redis → endpoint → audience."""

import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console

from streamrec.cli.demo.audience import make_audience
from streamrec.cli.demo.screen import Screen
from streamrec.cli.demo.stream import GrowingFile, Log
from streamrec.cli.demo.summary import Summary, summarise
from streamrec.cli.demo.topic import open_topic
from streamrec.cli.demo.visitors import SPEED, Endpoint, Visitors
from streamrec.clock import Clock, SystemClock
from streamrec.errors import ServiceError, UsageError
from streamrec.features.spec import Cross, FeatureSpec, Field, Statistics
from streamrec.learner.settings import LearnerSettings
from streamrec.learner.start import Plan, start
from streamrec.serving.service import BackgroundService
from streamrec.store.base import Store
from streamrec.store.registry import open_store

__all__ = ["LearnerThread", "Settings", "features_of", "run"]

NAME = "demo"
COMMIT_S = 0.1
PAGES_PER_S = 80
#: Events of random pages before the first model: it is not empty when its time begins, nor good.
FIRST_EVENTS = 500
#: Compiling on the very first run takes some fifteen seconds.
PATIENCE_S = 120


class Settings(NamedTuple):
    """What the user may choose."""

    seconds: float
    port: int
    seed: int
    record: str | None
    transport: str = "best"  # kafka, file, or best: Kafka where it can be started


class LearnerThread:
    """A learner that follows the growing stream until it ends."""

    def __init__(self, stream: Log, store: Store, clock: Clock, features: FeatureSpec) -> None:
        self._stream, self._store, self._clock, self._features = stream, store, clock, features
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="learner", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the learner early."""
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """End the stream and wait until all of it is learned and committed."""
        self._stream.end()
        self._thread.join()

    def _run(self) -> None:
        plan = Plan(
            name=NAME,
            fresh=True,
            features=self._features,
            learner=LearnerSettings(commit_interval_s=COMMIT_S),
        )
        try:
            started = start(plan, self._stream.source, self._store, self._clock)
            try:
                started.learner.run()
            finally:
                started.parts.lease.close()
        except BaseException as error:  # raised by `check` in the thread that plays
            self._error = error


def features_of(seconds: float) -> FeatureSpec:
    """What the audience's tastes depend on, with rates that forget, as tastes change once in so many seconds.

    Without configuration the model is as good before the drift, but rates that remember everything hold it
    back afterwards: at the end it has 45 % of the possible gain, and with these 90 %.
    """
    forgetting = Statistics(half_life_s=SPEED * seconds / 10)
    names = ("user", "item", "group", "device", "topic", "style")
    crosses = (("group", "topic"), ("group", "style"), ("group", "item"))
    return FeatureSpec(
        fields=tuple(Field(name=name, kind="category") for name in names),
        crosses=tuple(Cross(fields=fields, statistics=forgetting) for fields in crosses),
    )


def run(settings: Settings, console: Console) -> Summary:
    """Play the demo.

    Raises:
        ServiceError: Redis or the endpoint could not be started, or no model came.
        UsageError: the recording's file exists or cannot be written.

    """
    clock = SystemClock()
    with ExitStack() as stack:
        store = open_store("embedded")
        stack.callback(store.close)
        stream = _stream(settings, stack, console)
        service = stack.enter_context(BackgroundService(store, NAME, port=settings.port))
        learner = LearnerThread(stream, store, clock, features_of(settings.seconds))
        stack.callback(learner.finish)
        endpoint = Endpoint(service.url)
        stack.callback(endpoint.close)
        audience = make_audience(np.random.default_rng(settings.seed))
        visitors = Visitors(audience, endpoint, stream, clock, settings.seed)
        _until_ready(visitors, learner, clock, console)
        with Screen(console, service.url, settings.seconds / 2, settings.seconds) as screen:
            _play(visitors, learner, clock, screen, settings.seconds)
        learner.finish()
        learner.check()
        _see_last(visitors, stream, clock)
        return summarise(visitors, settings.seconds / 2, settings.seconds)


def _stream(settings: Settings, stack: ExitStack, console: Console) -> Log:
    """A topic of a real broker where one can be started, else a file."""
    path = Path(settings.record) if settings.record else None
    if path is not None and path.exists():
        raise UsageError(f"--record {path}: exists; name a new file")
    try:
        if settings.transport != "file":
            topic = open_topic(path, stack, lambda text: console.print(text, highlight=False))
            console.print("Events go through Kafka: a real broker, started for this demo.", highlight=False)
            return topic
    except ServiceError as error:
        if settings.transport == "kafka":
            raise
        console.print(f"Events go through a file, not Kafka: {error}", highlight=False)
    except OSError as error:
        raise UsageError(f"--record {path}: {error.strerror}") from None
    return _file(path, stack)


def _file(path: Path | None, stack: ExitStack) -> GrowingFile:
    if path is None:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="streamrec-demo-"))
        path = Path(folder, "events.jsonl")
    try:
        stream = GrowingFile(path)
    except OSError as error:
        raise UsageError(f"--record {path}: {error.strerror}") from None
    stack.callback(stream.close)
    return stream


def _until_ready(visitors: Visitors, learner: LearnerThread, clock: Clock, console: Console) -> None:
    """Random pages until the endpoint ranks; then the demo's time begins."""
    console.print(
        "Starting Redis, learner and endpoint; the first run compiles for some seconds ...", highlight=False
    )
    while visitors.model.seq == 0:
        learner.check()
        if visitors.elapsed_s() > PATIENCE_S:
            raise ServiceError(f"the learner committed nothing within {PATIENCE_S} s")
        if visitors.n_events < FIRST_EVENTS:
            visitors.visit(phase=0)
        visitors.write_due_clicks()
        visitors.see_model()
        clock.sleep(0.005)
    visitors.begin()


def _play(visitors: Visitors, learner: LearnerThread, clock: Clock, screen: Screen, seconds: float) -> None:
    """Visits at a steady pace; a machine that cannot keep it up plays fewer."""
    next_s = 0.0
    while (now_s := visitors.elapsed_s()) < seconds:
        learner.check()
        visitors.write_due_clicks()
        if now_s >= next_s:
            visitors.visit(phase=int(now_s >= seconds / 2))
            next_s = max(next_s + 1 / PAGES_PER_S, now_s - 0.5)
        screen.draw(visitors)
        clock.sleep(max(0.0, min(next_s - visitors.elapsed_s(), 0.005)))


def _see_last(visitors: Visitors, stream: Log, clock: Clock) -> None:
    """Wait until the endpoint answers from the last commit."""
    deadline_s = visitors.elapsed_s() + 5
    while visitors.elapsed_s() < deadline_s:
        visitors.see_model()
        if visitors.model.next_offset >= stream.next_offset:
            return
        clock.sleep(0.01)
