"""Arms as a setting of the store has them.

It is looked at twice a second, so that a switch needs no restart and reaches every scorer. A new arm loads
beside those that answer: until it has a generation its users get the champion, and a new champion takes over
when it can.
"""

import logging
from collections.abc import Callable, Mapping

from streamrec.clock import Clock
from streamrec.errors import Outdated, StoreError, StoreMismatch
from streamrec.serving.arms import Arms, State
from streamrec.serving.background import Background
from streamrec.serving.scorer import Scorer, Status
from streamrec.serving.split import Split, setting_name
from streamrec.store.base import Store

__all__ = ["LOOK_S", "StoredArms"]

#: A switch is seen after this, which costs the store two small questions a second.
LOOK_S = 0.5

log = logging.getLogger("streamrec.serving")


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
        self._following = Background(f"arms-{name}", self._run)

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
        self._following.start()

    def stop(self) -> None:
        """Stop following, and the scorers."""
        self._following.stop()
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
        while not self._following.stopping.is_set():
            try:
                self.look()
            except Exception as error:  # whatever it is, who answers now goes on answering
                self._note(f"they cannot be looked at: {error}")
                log.debug("arms of %r", self.name, exc_info=True)
            self._following.stopping.wait(LOOK_S)

    def _note(self, trouble: str) -> None:
        """Keep the trouble (empty: none) and log it once."""
        if trouble and trouble != self._trouble:
            log.warning("arms of %r stay as they are: %s", self.name, trouble)
        self._trouble = trouble
