"""A simulated audience with known tastes: the judge of what the live endpoint ranks.

A user of group g clicks on item i with probability

    sigmoid(base + taste[g, topic(i)] + style[g, style(i)] + popularity(i)).

The model is told group, topic and style of each event, never the tastes. Half-way tastes and popularity
change at once: what was learned is wrong from then on, and must be learned anew from the clicks.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["N_SHOWN", "Audience", "Visit", "make_audience"]

GROUPS = ("students", "parents", "commuters", "night owls", "retired", "sports fans")
TOPICS = (
    "politics",
    "football",
    "cooking",
    "science",
    "travel",
    "music",
    "games",
    "gardening",
    "finance",
    "film",
)
STYLES = ("short", "long read", "video", "gallery")
DEVICES = ("phone", "tablet", "desktop")

N_USERS = 300
N_ITEMS = 150
#: A page: what could be shown, and how many are.
N_CANDIDATES = 25
N_SHOWN = 5
#: Log-odds of a click before tastes: about one in eight, so that a random page gets some clicks.
BASE = -2.0


class Visit(NamedTuple):
    """One user comes and can be shown any of C candidates."""

    user: int
    device: int
    candidates: np.ndarray  # int64 (C,)
    probability: np.ndarray  # float64 (C,): true chance of a click if shown


class Audience(NamedTuple):
    """Who comes, what there is, and who likes what; tastes by phase (0 before the drift, 1 after)."""

    group: np.ndarray  # int64 (users,)
    topic: np.ndarray  # int64 (items,)
    style: np.ndarray  # int64 (items,)
    taste: np.ndarray  # float64 (2, groups, topics)
    style_taste: np.ndarray  # float64 (2, groups, styles)
    popularity: np.ndarray  # float64 (2, items)

    def visit(self, phase: int, rng: np.random.Generator) -> Visit:
        """A user at random with candidates at random."""
        user = int(rng.integers(N_USERS))
        items = rng.choice(N_ITEMS, N_CANDIDATES, replace=False)
        group = self.group[user]
        logit = (
            BASE
            + self.taste[phase, group, self.topic[items]]
            + self.style_taste[phase, group, self.style[items]]
            + self.popularity[phase, items]
        )
        return Visit(user, int(rng.integers(len(DEVICES))), items, 1.0 / (1.0 + np.exp(-logit)))

    def user_features(self, visit: Visit) -> dict[str, str]:
        """What the request tells of the user."""
        return {"group": GROUPS[self.group[visit.user]], "device": DEVICES[visit.device]}

    def item_features(self, item: int) -> dict[str, str]:
        """What the request tells of a candidate."""
        return {"topic": TOPICS[self.topic[item]], "style": STYLES[self.style[item]]}


def make_audience(rng: np.random.Generator) -> Audience:
    """Users and items at random; each group loves two topics and likes two, others after the drift."""
    taste = np.empty((2, len(GROUPS), len(TOPICS)))
    for group in range(len(GROUPS)):
        order = rng.permutation(len(TOPICS))
        # After the drift what was loved is ignored, and four topics of the ignored six are loved or liked.
        for phase, ranked in enumerate((order, np.roll(order, 4))):
            taste[phase, group, ranked] = [2.2, 2.2, 1.0, 1.0, -0.8, -0.8, -0.8, -0.8, -0.8, -0.8]
    return Audience(
        group=rng.integers(len(GROUPS), size=N_USERS),
        topic=rng.integers(len(TOPICS), size=N_ITEMS),
        style=rng.integers(len(STYLES), size=N_ITEMS),
        taste=taste,
        style_taste=rng.normal(0, 0.4, (2, len(GROUPS), len(STYLES))),
        popularity=rng.normal(0, 0.4, (2, N_ITEMS)),
    )
