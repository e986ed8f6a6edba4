"""The audience at work: it asks the live endpoint, looks at the page, and clicks as its tastes have it."""

import heapq
import http.client
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from streamrec.cli.demo.audience import N_SHOWN, Audience, Visit
from streamrec.cli.demo.stream import Log
from streamrec.cli.demo.tally import Delays, Page, Tally
from streamrec.clock import Clock
from streamrec.errors import ServiceError

__all__ = ["SPEED", "Endpoint", "ModelView", "Visitors"]

#: Share of pages shown at random: how the learner hears of items that it does not rank high yet.
EXPLORE = 0.1
#: The audience's day goes by in a minute: event times run so much faster than the clock. Half a second is ten
#: minutes then, the window in which a click counts, so that the recorded stream is learned alike by `replay`.
SPEED = 1200
#: A click follows the page after this long, milliseconds of event time, uniformly.
CLICK_AFTER_MS = (20 * SPEED, 200 * SPEED)


class ModelView(NamedTuple):
    """What `/v1/model` said last."""

    seq: int = 0
    weights: int = 0
    ne: float = float("nan")
    next_offset: int = 0  # of the stream: everything before it is learned


class Endpoint:
    """One connection to the scoring service, kept alive; "not ready" is an answer, others are errors."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    def rank(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """`/v1/rank`; None while there is no model yet."""
        return self._ask("POST", "/v1/rank", json.dumps(request).encode())

    def model(self) -> dict[str, Any] | None:
        """`/v1/model`; None while there is no model yet."""
        return self._ask("GET", "/v1/model", None)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(self, method: str, path: str, body: bytes | None) -> dict[str, Any] | None:
        self._connection.request(method, path, body, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status == 503:
            return None
        if answer.status != 200:
            raise ServiceError(
                f"{method} {path}: expected status 200, got {answer.status}: {content[:300]!r}"
            )
        decoded: dict[str, Any] = json.loads(content)
        return decoded


class Visitors:
    """The whole audience as one sequence of visits.

    Args:
        audience: who comes and what they like.
        endpoint: what ranks.
        stream: where impressions and clicks are written.
        clock: event times, and the delays measured.
        seed: of the visits and clicks; what is shown depends on timing too.

    """

    def __init__(self, audience: Audience, endpoint: Endpoint, stream: Log, clock: Clock, seed: int) -> None:
        self.tally, self.delays, self.model = Tally(), Delays(), ModelView()
        self.n_events = self.n_clicks = 0
        self._audience, self._endpoint, self._stream, self._clock = audience, endpoint, stream, clock
        self._rng = np.random.default_rng(seed)
        self._start_s = self._day_s = clock.monotonic_s()
        self._day_ms = clock.now_ms()
        self._due: list[tuple[int, int, bytes]] = []  # clicks on their way: (time, number, line)
        self._n_pages = 0

    def begin(self) -> None:
        """The demo's time begins now; what was before is not measured."""
        self.tally, self.delays = Tally(), Delays()
        self.n_events = self.n_clicks = 0
        self._start_s = self._clock.monotonic_s()

    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._clock.monotonic_s() - self._start_s

    def visit(self, phase: int) -> None:
        """One user comes, is shown a page, and may click on it; clicks that are due are written."""
        visit = self._audience.visit(phase, self._rng)
        explore = self._rng.random() < EXPLORE
        shown = None if explore else self._ranked(visit)
        ranked = shown is not None
        if shown is None:
            shown = self._rng.choice(len(visit.candidates), N_SHOWN, replace=False)
        clicked = self._rng.random(N_SHOWN) < visit.probability[shown]
        self._write(visit, shown, clicked)
        p = visit.probability
        best = float(np.sort(p)[-N_SHOWN:].mean())
        self.tally.add(
            Page(
                self.elapsed_s(),
                ranked,
                N_SHOWN,
                int(clicked.sum()),
                float(p[shown].mean()),
                float(p.mean()),
                best,
            )
        )

    def write_due_clicks(self) -> None:
        """Write the clicks whose time has come."""
        now_ms = self._event_time_ms()
        while self._due and self._due[0][0] <= now_ms:
            line = heapq.heappop(self._due)[2]
            # The clock starts before the write: the learner may read the line before `write` returns.
            self.delays.written(self._stream.next_offset, self.elapsed_s())
            self._stream.write(line)
            self.n_events += 1
            self.n_clicks += 1

    def see_model(self) -> None:
        """Ask the endpoint how far its model is, and note the delay of every click that it now contains."""
        state = self._endpoint.model()
        if state is None:
            return
        next_offset = (state["position"] or {}).get(self._stream.partition, 0)
        self.delays.served(next_offset, self.elapsed_s())
        ne = (state["metrics"] or {}).get("ne")
        self.model = ModelView(
            state["seq"], state["weights"], float("nan") if ne is None else ne, next_offset
        )

    def _event_time_ms(self) -> int:
        return self._day_ms + int((self._clock.monotonic_s() - self._day_s) * 1000 * SPEED)

    def _ranked(self, visit: Visit) -> np.ndarray | None:
        """Indices of the candidates that the endpoint puts on the page; None while there is no model."""
        audience = self._audience
        answer = self._endpoint.rank(
            {
                "user": f"u{visit.user}",
                "time": self._event_time_ms(),
                "features": audience.user_features(visit),
                "candidates": [
                    {"item": f"i{item}", "features": audience.item_features(item)}
                    for item in visit.candidates.tolist()
                ],
                "k": N_SHOWN,
            }
        )
        if answer is None:
            return None
        if answer["seq"] != self.model.seq:
            self.see_model()
        place = {f"i{item}": n for n, item in enumerate(visit.candidates.tolist())}
        return np.array([place[item["item"]] for item in answer["items"]])

    def _write(self, visit: Visit, shown: np.ndarray, clicked: np.ndarray) -> None:
        """Write the page's impressions now; its clicks come later."""
        now_ms, lines = self._event_time_ms(), []
        self._n_pages += 1
        user_features = self._audience.user_features(visit)
        for position, item in enumerate(visit.candidates[shown].tolist()):
            key = f"p{self._n_pages}.{position}"
            impression = {
                "type": "impression",
                "id": key,
                "time": now_ms,
                "user": f"u{visit.user}",
                "item": f"i{item}",
                "position": position,
                "features": {**user_features, **self._audience.item_features(item)},
            }
            lines.append(_line(impression))
            if clicked[position]:
                due_ms = now_ms + int(self._rng.integers(*CLICK_AFTER_MS))
                click = {"type": "click", "id": f"c{key}", "time": due_ms, "impression": key}
                heapq.heappush(self._due, (due_ms, len(self._due) + self._n_pages * 100, _line(click)))
        self._stream.write(b"".join(lines))
        self.n_events += len(lines)


def _line(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"
