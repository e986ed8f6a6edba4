"""A new learner of impressions and clicks: for a window all final labels are clicks, and learning goes on."""

import numpy as np

from streamrec.clock import SystemClock
from streamrec.evaluation.guard_settings import GuardSettings
from streamrec.learner.start import Plan, start
from streamrec.models.settings import ModelSettings
from streamrec.store.memory import MemoryStore
from streamrec.transport.registry import open_source

START_MS, N_EVENTS, CLICKED_AFTER = 1_700_000_000_000, 25_000, 500


def lines(rng: np.random.Generator):
    """A fifth of what is shown is clicked half a second later; the whole is shorter than the window."""
    clicked: list[int] = []
    for i in range(N_EVENTS):
        if clicked and clicked[0] <= i - CLICKED_AFTER:
            n = clicked.pop(0)
            yield f'{{"type":"click","id":"c{n}","time":{START_MS + i},"impression":"i{n}"}}\n'
            continue
        what = f'"user":"u{rng.integers(50)}","item":"a","features":{{}}'
        yield f'{{"type":"impression","id":"i{i}","time":{START_MS + i},{what}}}\n'
        if rng.random() < 0.2:
            clicked.append(i)


def test_is_not_cut_off(tmp_path) -> None:
    stream = tmp_path / "events.jsonl"
    stream.write_text("".join(lines(np.random.default_rng(1))))
    plan = Plan(model=ModelSettings(kind="ftrl"), guards=GuardSettings(block=100))
    started = start(plan, open_source(str(stream)), MemoryStore("new-live"), SystemClock())
    started.learner.run()
    guards = started.parts.measures.guards
    assert guards.n == stream.read_text().count('{"type":"impression"')
    assert guards.trouble == ""
