"""Several models behind one service: a champion, challengers with shares of the users, shadows.

One scorer for each arm mirrors its model. Who is in which arm is a setting of the store (`split.py`), looked
at twice a second, so that a switch needs no restart and reaches every scorer. A new arm loads beside those
that answer: until it has a generation its users get the champion, and a new champion takes over when it can.
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread
from typing import Any, NamedTuple
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from streamrec.clock import Clock
from streamrec.errors import Outdated, StoreError, StoreMismatch, UsageError
from streamrec.serving.scorer import Scorer, Status
from streamrec.serving.split import Split, setting_name
from streamrec.store.base import Store

__all__ = ["LOOK_S", "REASONS", "Arms", "Choice", "State", "StoredArms"]

#: A switch is seen after this, which costs the store two small questions a second.
LOOK_S = 0.5
#: Why a request got its arm: by the hash of its user, of its own id; because it named the arm; because its
#: own arm cannot answer yet.
REASONS = ("user", "request", "forced", "fallback")

log = logging.getLogger("streamrec.serving")


class Choice(NamedTuple):
    """Who answers a request."""

    scorer: Scorer
    by: str  # one of REASONS; empty: there is no experiment
    said: Mapping[str, Any]  # what to add to the answer, as `arms_api.Assigned`

    def completed(self, answer: bytes) -> bytes:
        """An answer, a JSON object with members, and what is to be added to it."""
        return answer[:-1] + b"," + to_json(self.said)[1:] if self.said else answer

    @property
    def drawn(self) -> str | None:
        """The arm where a hash has chosen it: only such answers can be compared."""
        return self.scorer.model if self.by in ("user", "request") else None


class _Asker(BaseModel):
    """What of a request decides about its arm, as `api.RankRequest` has it."""

    model_config = ConfigDict(strict=True)

    user: str | None = None
    request: str | None = None
    arm: str | None = None


class State(NamedTuple):
    """Everything that a choice needs, of one moment."""

    split: Split
    scorers: Mapping[str, Scorer]
    champion: Scorer  # who stands for it until the split's has a generation


class Arms:
    """The scorers of one service, which is one model as long as nobody sets more.

    Args:
        scorer: of the champion.

    Attributes:
        name: under which it is served, and of the experiment.
        state: what it chooses by; replaced as a whole.

    """

    def __init__(self, scorer: Scorer) -> None:
        self.name = scorer.model
        self.state = State(Split.alone(scorer.model), {scorer.model: scorer}, scorer)

    @property
    def split(self) -> Split:
        """Who has which share."""
        return self.state.split

    @property
    def scorers(self) -> Mapping[str, Scorer]:
        """By model, the champion's among them."""
        return self.state.scorers

    @property
    def champion(self) -> Scorer:
        """Who answers what belongs to no arm."""
        return self.state.champion

    @property
    def trouble(self) -> str:
        """Why the split may be another than the store has; empty where it is not."""
        return ""

    def status(self) -> Status:
        """That of the champion."""
        return self.champion.status()

    def start(self) -> None:
        """Follow the model."""
        self.champion.start()

    def stop(self) -> None:
        """Stop following."""
        with ThreadPoolExecutor() as at_once:  # each waits for its store for up to half a second
            list(at_once.map(Scorer.stop, {*self.scorers.values(), self.champion}))

    def scorer(self, arm: str | None) -> Scorer:
        """That of an arm; None: the champion's.

        Raises:
            UsageError: there is no such arm.

        """
        if arm is None:
            return self.champion
        found = self.scorers.get(arm)
        if found is None:
            raise UsageError(f"arm {arm!r}: expected one of {', '.join(self.scorers)}")
        return found

    def asked(self, body: bytes) -> Choice:
        """Who answers a request, a JSON object; of one that is not valid nobody in particular.

        Raises: as `choose`.
        """
        if not self.split.version and b'"arm"' not in body:  # as most services are: nothing is parsed
            return Choice(self.champion, "", {})
        try:
            asker = _Asker.model_validate_json(body)
        except ValidationError:  # whoever parses all of it says what is wrong
            return Choice(self.champion, "", {})
        return self.choose(asker.user, asker.request or None, asker.arm)

    def choose(
        self, user: str | None, request: str | None, arm: str | None, *, retrieves: bool = False
    ) -> Choice:
        """Who answers a request.

        Args:
            user: whose it is; None: nobody's in particular.
            request: its id, which counts where there is no user; None: one is drawn, and told.
            arm: the arm that it asks for; None: its own.
            retrieves: whether an arm that finds no items cannot answer.

        Raises:
            UsageError: there is no such arm.

        """
        state = self.state
        if arm is not None:
            return self._choice(state, self.scorer(arm), "forced")
        if not state.split.version:
            return Choice(state.champion, "", {})
        if user:  # an empty one is nobody, too: else all of these were in one arm
            by, told, drawn = "user", None, state.split.arm_of("user", user)
        else:
            told = request or uuid4().hex
            by, drawn = "request", state.split.arm_of("request", told)
        scorer = state.scorers[drawn]
        if not _answers(scorer, retrieves=retrieves):
            scorer, by = state.champion, "fallback"
        return self._choice(state, scorer, by, told)

    def _choice(self, state: State, scorer: Scorer, by: str, request: str | None = None) -> Choice:
        split = state.split
        assigned = {"by": by, "request": request, "experiment": self.name, "version": split.version}
        return Choice(scorer, by, {"arm": scorer.model, "assigned": assigned})


class StoredArms(Arms):
    """Arms as a setting of the store has them; `start` follows it.

    Args:
        store: where the models and the setting are.
        name: of the experiment, and of the model that is the champion while nobody has set another.
        make: a scorer of a model.
        clock: for the time of a change.
        first: shares to set where nobody has set any yet.

    """

    def __init__(
        self,
        store: Store,
        name: str,
        make: Callable[[str], Scorer],
        clock: Clock,
        first: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(make(name))
        self._store, self._make, self._clock = store, make, clock
        self._first = dict(first or {})
        self._trouble = ""
        self._started: set[str] = set()
        self._stopping = Event()
        self._thread: Thread | None = None

    @property
    def trouble(self) -> str:
        """Why the split may be another than the store has; empty where it is not."""
        return self._trouble

    def status(self) -> Status:
        """That of the champion; before the first look, why there was none."""
        known = self._started or not self._trouble
        return self.champion.status() if known else Status(False, self._trouble)

    def start(self) -> None:
        """Follow the setting in a thread; scorers start once it is known. Again changes nothing."""
        if self._thread is None:
            self._stopping.clear()
            self._thread = Thread(target=self._run, name=f"arms-{self.name}", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop following, and the scorers."""
        if self._thread is not None:
            self._stopping.set()
            self._thread.join()
            self._thread = None
        super().stop()
        self._started.clear()

    def look(self) -> None:
        """Take over what the store has; where it does not answer, everything stays as it is."""
        try:
            split = self._read()
        except StoreMismatch as error:
            self._note(str(error))
            split = self.split
        except StoreError as error:
            self._note(f"the store is away: {error}")
            return
        else:
            self._note("")
        self._adopt(split)

    def _read(self) -> Split:
        setting = self._store.setting(setting_name(self.name))
        if not setting.version and self._first:
            first = Split.alone(self.name).with_shares(self._first)
            try:
                setting = self._store.change(setting_name(self.name), first.to_bytes(self._clock.now_ms()), 0)
            except Outdated:  # another scorer that has just started
                setting = self._store.setting(setting_name(self.name))
        elif setting.version and self._first:
            self._tell_difference(Split.stored(self.name, setting))
        self._first = {}
        return Split.stored(self.name, setting)

    def _tell_difference(self, split: Split) -> None:
        now = {arm: split.share(arm) for arm in split.arms}
        if now != self._first or split.champion != self.name:
            shown = ", ".join(f"{arm}={split.share(arm):g}" for arm in split.models)
            log.warning(
                "arms of %r: the store's are taken, not those given at the start: %s (version %d); "
                "streamrec models arms set changes them",
                self.name,
                shown,
                split.version,
            )

    def _adopt(self, split: Split) -> None:
        """Start what is new, answer by it, stop what is gone."""
        before = self.state
        there = {**before.scorers, before.champion.model: before.champion}
        scorers = {model: there.get(model) or self._make(model) for model in split.models}
        for model in scorers.keys() - self._started:
            scorers[model].start()
            self._started.add(model)
        chosen, champion = scorers[split.champion], before.champion
        if chosen.generation is not None or champion.generation is None:
            champion = chosen
        if split.version != before.split.version:
            log.info("arms of %r: version %d, champion %r", self.name, split.version, split.champion)
        self.state = State(split, scorers, champion)
        kept = {*map(id, scorers.values()), id(champion)}
        for scorer in there.values():
            if id(scorer) not in kept and scorer.model in self._started:
                self._started.discard(scorer.model)
                scorer.stop()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception as error:  # whatever it is, who answers now goes on answering
                self._note(f"they cannot be looked at: {error}")
                log.debug("arms of %r", self.name, exc_info=True)
            self._stopping.wait(LOOK_S)

    def _note(self, trouble: str) -> None:
        """Keep the trouble (empty: none) and log it once."""
        if trouble and trouble != self._trouble:
            log.warning("arms of %r stay as they are: %s", self.name, trouble)
        self._trouble = trouble


def _answers(scorer: Scorer, *, retrieves: bool) -> bool:
    generation = scorer.generation
    return generation is not None and not (retrieves and generation.items is None)
