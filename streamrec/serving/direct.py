"""Plain requests to rank answered where they are read: no HTTP parser, no framework, mostly no thread.

Of the 5 ms that 500 candidates took over HTTP, those three took more than half. Here a request whose head is
plain (`serving.head`) is gathered by its length, waits in the same line as all others (`serving.pressure`),
and is computed on the event loop, one in each of its rounds, so that others are read, counted and refused in
between. Computing there keeps everybody else waiting, so what may take long is left to a thread: requests
after long ones, a model that asks its store, and whoever comes while a commit goes in.

What is not answered with success goes the long way, all of its bytes, and is answered there.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from streamrec.serving.generation import Busy
from streamrec.serving.head import Head, plain_head
from streamrec.serving.pressure import Line
from streamrec.serving.token import Tokens

__all__ = ["Direct", "Passage", "Ranker"]

#: Longer bodies go the long way, which counts their memory: some thousand candidates of 20 features.
_MOST_BYTES = 1 << 18
#: While requests take longer than this, a thread computes them.
_SHORT_S = 0.006


class Ranker(NamedTuple):
    """Answers requests to one path, from a body to JSON; errors, and None, leave them to the long way."""

    path: str
    at_once: Callable[[bytes], bytes | None]  # raises `Busy` where it would have to wait for something
    in_time: Callable[[bytes], bytes | None]  # in any thread


class Passage:
    """One request on this way, which holds a place in the line.

    Args:
        head: of it.
        data: its first bytes, with all of the head.
        began_s: when they came.

    Attributes:
        is_whole: nothing of it is missing.
        is_gone: nobody waits for the answer.
        refusal: a whole HTTP answer, where it is refused.
        behind: bytes of the next requests.

    """

    def __init__(self, head: Head, data: bytes, began_s: float) -> None:
        self.head, self.began_s, self.arrived_s = head, began_s, began_s
        self.is_gone, self.refusal, self.behind = False, b"", b""
        self._parts, self._missing = [data], head.n_bytes + head.n_body - len(data)

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there."""
        return self._missing == 0

    def add(self, data: bytes) -> None:
        """Some more bytes."""
        part = data[: self._missing]
        if part:
            self._parts.append(part)
            self._missing -= len(part)
        self.behind += data[len(part) :]

    def all_bytes(self) -> bytes:
        """What came so far, of this request and the next ones."""
        return b"".join([*self._parts, self.behind])

    def body(self) -> bytes:
        """What is asked, of a request that is whole."""
        first, *rest = self._parts
        return b"".join([first[self.head.n_bytes :], *rest])


Done = Callable[[bytes | None], None]


class Direct:
    """Answers plain requests. Used on the event loop alone.

    Args:
        line: in which they wait.
        ranker: answers them.
        refuse: makes the whole answer to one that waits for too long.
        observe: told path, status and seconds of each that was answered with success.
        tokens: who may ask; None: anybody.

    """

    def __init__(
        self,
        line: Line,
        ranker: Ranker,
        refuse: Callable[[Head, str], bytes],
        observe: Callable[[str, int, float], None],
        tokens: Tokens | None = None,
    ) -> None:
        self._line, self._ranker, self._refuse, self._observe = line, ranker, refuse, observe
        self._tokens = tokens
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="streamrec-direct")
        self._waiting: deque[tuple[Passage, Done]] = deque()
        self._is_busy = False

    def enter(self, data: bytes) -> Passage | None:
        """The request that begins with these bytes; None where it is not for this way."""
        head = plain_head(data)
        if head is None or head.path != self._ranker.path or head.n_body > _MOST_BYTES:
            return None
        if len(data) > head.n_bytes + head.n_body or not self._is_known(head):
            return None
        self._line.under_way += 1
        return Passage(head, data, self._line.now_s())

    def leave(self, passage: Passage) -> None:
        """Its client is gone, or has not sent all of it in time."""
        passage.is_gone = True
        if not passage.is_whole:  # else its turn comes
            self._line.under_way -= 1

    def join(self, passage: Passage, done: Done) -> None:
        """A request that is whole waits for its turn.

        Args:
            passage: the request.
            done: called once, unless it leaves: with the answer as JSON, or with None where it has a
                `refusal` or is to go the long way.

        """
        if self._line.is_long():
            self._line.under_way -= 1
            passage.refusal = self._refuse(passage.head, "delay")
            done(None)
            return
        passage.arrived_s = self._line.arrive()
        self._waiting.append((passage, done))
        if not self._is_busy:
            self._is_busy = True
            asyncio.get_running_loop().call_soon(self._serve)

    def _is_known(self, head: Head) -> bool:
        if self._tokens is None:
            return True
        return head.authorization is not None and self._tokens.accept(head.authorization)

    def _serve(self) -> None:
        passage, done = self._waiting.popleft()
        if passage.is_gone:
            self._end(passage, done, None)
            return
        if self._line.has_waited_long(passage.arrived_s):
            passage.refusal = self._refuse(passage.head, "delay")
            self._end(passage, done, None)
            return
        body = passage.body()
        try:
            if self._line.service_s > _SHORT_S:
                raise Busy
            answer = self._ranker.at_once(body)
        except Busy:
            self._serve_in_thread(passage, done, body)
        except Exception:  # whatever it is, the long way tells it
            self._end(passage, done, None)
        else:
            self._end(passage, done, answer)

    def _serve_in_thread(self, passage: Passage, done: Done, body: bytes) -> None:
        computed = asyncio.get_running_loop().run_in_executor(self._thread, self._ranker.in_time, body)
        computed.add_done_callback(
            lambda its: self._end(passage, done, None if its.exception() else its.result())
        )

    def _end(self, passage: Passage, done: Done, answer: bytes | None) -> None:
        """The next one's turn comes after whatever else the loop has to do."""
        self._line.under_way -= 1
        if answer is None:
            self._line.abandon()
        else:
            self._line.depart(passage.arrived_s)
            self._observe(passage.head.path, 200, self._line.now_s() - passage.began_s)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._serve)
        else:
            self._is_busy = False
        if not passage.is_gone:
            done(answer)
