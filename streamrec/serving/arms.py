"""Several models behind one service: a champion, challengers with shares of the users, shadows.

One scorer for each arm mirrors its model; who is in which arm says `split.py`.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from streamrec.errors import UsageError
from streamrec.serving.scorer import Scorer, Status
from streamrec.serving.split import Split

__all__ = ["REASONS", "Arms", "Choice", "State"]

#: Why a request got its arm: by the hash of its user, of its own id; because it named the arm; because its
#: own arm cannot answer yet.
REASONS = ("user", "request", "forced", "fallback")


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


def _answers(scorer: Scorer, *, retrieves: bool) -> bool:
    generation = scorer.generation
    return generation is not None and not (retrieves and generation.items is None)
