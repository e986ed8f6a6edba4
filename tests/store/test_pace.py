"""Rests of background work, by a clock that moves when it is told to."""

import threading
import time

import numpy as np
import pytest
from store_oracle import random_commit

from streamrec.store.limits import Limits
from streamrec.store.pace import Pace
from streamrec.store.redis import RedisStore


class Hands:
    """A clock whose sleeps are remembered."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []

    def now_ms(self) -> int:
        return int(1000 * self.now_s)

    def monotonic_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def test_work_takes_its_share_of_the_time() -> None:
    clock = Hands()
    pace = Pace(0.25, lambda: False, clock)
    clock.now_s += 7  # before it began
    pace.begin()
    for worked_s in (0.01, 0.02, 0.03):
        clock.now_s += worked_s
        pace.rest()
    assert clock.slept == pytest.approx([0.03, 0.06, 0.09])
    assert clock.now_s == pytest.approx(107 + 0.06 / 0.25)


def test_no_rest_is_long() -> None:
    clock = Hands()
    pace = Pace(0.1, lambda: False, clock)
    pace.begin()
    clock.now_s += 5
    pace.rest()
    assert clock.slept == [0.25]


def test_nobody_rests_where_it_is_pressing() -> None:
    clock = Hands()
    pressing = True
    pace = Pace(0.25, lambda: pressing, clock)
    pace.begin()
    clock.now_s += 0.01
    pace.rest()
    assert clock.slept == []
    pressing = False
    clock.now_s += 0.02
    pace.rest()
    assert clock.slept == pytest.approx([0.06]), "what was done while it pressed needs no rest"


@pytest.mark.integration
def test_a_flush_rests_unless_somebody_waits_for_it(redis_url: str) -> None:
    clock, rested = Hands(), threading.Event()

    def work(step: str) -> None:
        if step == "flush 3 merge":
            clock.now_s += 0.01
        elif step == "flush 7 sweep":
            rested.set()

    limits = Limits(flush_s=0.01, merge_rows=16)
    store = RedisStore(redis_url, limits=limits, clock=clock, fault=work)
    lease = store.acquire(f"pace-{time.monotonic_ns()}")
    lease.commit(random_commit(1, np.random.default_rng(1), n=100))
    assert rested.wait(20), "nothing was flushed in the background"
    lease.close()
    n_rests, worked_s = len(clock.slept), clock.now_s - 100 - sum(clock.slept)
    assert sum(clock.slept) == pytest.approx(3 * worked_s)
    assert worked_s > 0.02, "some ranges"

    lease = store.acquire(lease._keys.name)
    lease.commit(random_commit(2, np.random.default_rng(2), n=100))
    lease.flush()
    assert len(clock.slept) == n_rests
    lease.close()
    store.close()
