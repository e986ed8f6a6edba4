"""The turns that a partition's order took, for as long as a rebuild needs them.

Turns are kept in pages. The newest page goes with every transaction's record; a page that is full is written
once, as a record of its own, and withdrawn when no rebuild begins before its end.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from streamrec.join.decode import Turn

__all__ = ["Page", "Pages", "page_from_json", "turns_of"]

#: A turn takes some thirty bytes of every transaction's record while its page is open.
_PAGE_TURNS = 64


class Page(NamedTuple):
    """Consecutive turns."""

    number: int
    n_events: int  # joined before it
    waited_for: Mapping[str, bool]  # by partition, before it
    turns: tuple[Turn, ...]

    def as_json(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "number": self.number,
            "n_events": self.n_events,
            "waited_for": dict(self.waited_for),
            "turns": [list(turn) for turn in self.turns],
        }

    def after(self) -> Mapping[str, bool]:
        """Who is waited for after its turns."""
        return {**self.waited_for, **{turn.partition: turn.waited_for for turn in self.turns}}


def page_from_json(stored: Mapping[str, Any]) -> Page:
    """What `Page.as_json` gave."""
    turns = tuple(Turn(*turn) for turn in stored["turns"])
    return Page(stored["number"], stored["n_events"], stored["waited_for"], turns)


def turns_of(pages: Sequence[Page]) -> list[Turn]:
    """All turns of consecutive pages, after those that say as much as all before them."""
    if not pages:
        return []
    before = [Turn(pages[0].n_events, name, waited) for name, waited in pages[0].waited_for.items()]
    return before + [turn for page in pages for turn in page.turns]


class Pages:
    """The pages of one partition, the last of them open.

    pages: as they were stored; none where nothing was joined yet.
    """

    def __init__(self, pages: Sequence[Page] = ()) -> None:
        self._pages = list(pages) or [Page(0, 0, {}, ())]

    @property
    def first(self) -> int:
        """Number of the oldest page that a rebuild needs."""
        return self._pages[0].number

    @property
    def open(self) -> Page:
        """The newest."""
        return self._pages[-1]

    def add(self, turns: Sequence[Turn], n_events: int) -> list[Page]:
        """Take turns that came since; the pages that are full by this, to be stored.

        n_events: joined so far, the turns taken before that.
        """
        self._pages[-1] = self.open._replace(turns=(*self.open.turns, *turns))
        full = self.open
        if len(full.turns) < _PAGE_TURNS:
            return []
        self._pages.append(Page(full.number + 1, n_events, full.after(), ()))
        return [full]

    def forget(self, n_events: int) -> list[int]:
        """Numbers of the stored pages of which nothing after `n_events` is left; they are not needed."""
        forgotten = []
        while len(self._pages) > 1 and self._pages[1].n_events <= n_events:
            forgotten.append(self._pages.pop(0).number)
        return forgotten
