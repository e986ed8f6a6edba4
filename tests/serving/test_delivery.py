"""Many requests into one sink: shared acknowledgements, order, what a fault means for whom."""

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from serving_fakes import FakeSink

from streamrec.errors import BrokerError, BrokerUnavailable, SourceError, StreamrecError, Unacknowledged
from streamrec.serving import delivery as module
from streamrec.serving.delivery import Delivery
from streamrec.testing.redis_server import wait_until


class Parcel(NamedTuple):
    lines: list[bytes]
    keys: list[bytes | None]


def parcel(*lines: bytes) -> Parcel:
    return Parcel(list(lines), [b"k"] * len(lines))


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink()


@pytest.fixture
def delivery(sink: FakeSink, monkeypatch: pytest.MonkeyPatch) -> Iterator[Delivery]:
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    delivery = Delivery(sink.open)
    delivery.start()
    yield delivery
    sink.hold.set()
    delivery.stop()
    assert not [t for t in threading.enumerate() if t.name == "streamrec-events"]


def refused(delivery: Delivery) -> bool:
    try:
        delivery.check()
    except StreamrecError:
        return True
    return False


def test_what_comes_meanwhile_goes_together(delivery: Delivery, sink: FakeSink) -> None:
    sink.hold.clear()
    first = delivery.submit(lambda: parcel(b"0"))
    assert wait_until(lambda: sink.n_flushes == 1)
    rest = [delivery.submit(lambda i=i: parcel(b"%d" % i, b"%d+" % i)) for i in range(1, 100)]
    assert not first.done()
    sink.hold.set()
    assert first.result(10) == parcel(b"0")
    assert [future.result(10).lines[0] for future in rest] == [b"%d" % i for i in range(1, 100)]
    assert sink.n_flushes == 2
    assert [line for _, line in sink.written] == [
        b"0",
        *(t for i in range(1, 100) for t in (b"%d" % i, b"%d+" % i)),
    ]


def test_what_cannot_be_packed_is_its_own_fault(delivery: Delivery, sink: FakeSink) -> None:
    sink.hold.clear()
    delivery.submit(lambda: parcel(b"0"))
    assert wait_until(lambda: sink.n_flushes == 1)

    def fail() -> Any:
        raise ValueError("no events")

    before, bad, nothing = (delivery.submit(pack) for pack in (lambda: parcel(b"1"), fail, parcel))
    sink.hold.set()
    assert before.result(10).lines == [b"1"]
    with pytest.raises(ValueError, match="no events"):
        bad.result(10)
    assert nothing.result(10).lines == []


def test_a_cancelled_request_is_not_sent(delivery: Delivery, sink: FakeSink) -> None:
    sink.hold.clear()
    delivery.submit(lambda: parcel(b"0"))
    assert wait_until(lambda: sink.n_flushes == 1)
    cancelled, kept = delivery.submit(lambda: parcel(b"1")), delivery.submit(lambda: parcel(b"2"))
    assert cancelled.cancel()
    sink.hold.set()
    kept.result(10)
    assert [line for _, line in sink.written] == [b"0", b"2"]


def test_an_unanswered_one_may_arrive_later_and_those_behind_it_were_not_taken(
    delivery: Delivery, sink: FakeSink
) -> None:
    sink.hold.clear()
    sink.fault = Unacknowledged("no answer")
    first = delivery.submit(lambda: parcel(b"0"))
    assert wait_until(lambda: sink.n_flushes == 1)
    second = delivery.submit(lambda: parcel(b"1"))
    sink.hold.set()
    with pytest.raises(Unacknowledged, match="no answer"):
        first.result(10)
    with pytest.raises(BrokerUnavailable, match="no answer") as caught:
        second.result(10)
    assert not isinstance(caught.value, Unacknowledged)
    for _ in range(3):  # at once, and nothing piles up
        with pytest.raises(BrokerUnavailable, match="no answer"):
            delivery.submit(lambda: parcel(b"2"))
    sink.fault = None
    assert wait_until(lambda: not refused(delivery))
    assert sink.acknowledged == 1
    delivery.submit(lambda: parcel(b"3")).result(10)
    assert [line for _, line in sink.written] == [b"0", b"3"]
    assert (sink.n_opened, sink.closed) == (1, 0)


@pytest.mark.parametrize(
    "fault", [BrokerError("too large"), SourceError("there is no topic x"), OSError("?")]
)
def test_a_sink_that_failed_is_opened_anew(delivery: Delivery, sink: FakeSink, fault: Exception) -> None:
    sink.fault = fault
    said = str(fault) if isinstance(fault, StreamrecError) else "a fault of the service: OSError"
    with pytest.raises(StreamrecError, match=said):
        delivery.submit(lambda: parcel(b"0")).result(10)
    sink.fault = None
    delivery.submit(lambda: parcel(b"1")).result(10)
    assert sink.n_opened == 2
    assert wait_until(lambda: sink.closed == 1)


def test_a_broker_that_is_away_at_the_start_is_tried_until_it_is_there(
    sink: FakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    away = True

    def open_sink() -> FakeSink:
        if away:
            raise BrokerUnavailable("kafka://a:1 does not answer")
        return sink.open()

    delivery = Delivery(open_sink)
    early = delivery.submit(lambda: parcel(b"0"))  # before anybody knows
    delivery.start()
    with pytest.raises(BrokerUnavailable, match="does not answer"):
        early.result(10)
    with pytest.raises(BrokerUnavailable, match="does not answer"):
        delivery.check()
    away = False
    assert wait_until(lambda: not refused(delivery))
    delivery.submit(lambda: parcel(b"1")).result(10)
    delivery.stop()
    assert (sink.written, sink.closed) == ([(b"k", b"1")], 1)


def test_stopping_delivers_what_waits_and_takes_no_more(sink: FakeSink) -> None:
    delivery = Delivery(sink.open)
    delivery.start()
    sink.hold.clear()
    futures = [delivery.submit(lambda: parcel(b"0"))]
    assert wait_until(lambda: sink.n_flushes == 1)
    futures += [delivery.submit(lambda: parcel(b"1"))]
    stopping = threading.Thread(target=delivery.stop)
    stopping.start()
    assert wait_until(lambda: refused(delivery))
    sink.hold.set()
    stopping.join(10)
    assert [future.result(0).lines for future in futures] == [[b"0"], [b"1"]]
    assert sink.closed == 1
    with pytest.raises(BrokerUnavailable, match="stopping"):
        delivery.submit(lambda: parcel(b"2"))


def test_stopping_does_not_wait_for_a_broker_that_is_away(delivery: Delivery, sink: FakeSink) -> None:
    sink.fault = Unacknowledged("no answer")
    with pytest.raises(Unacknowledged):
        delivery.submit(lambda: parcel(b"0")).result(10)
    delivery.stop()
    assert sink.closed == 1


def test_how_much_fits(delivery: Delivery) -> None:
    assert delivery.fits(2000)
    assert wait_until(lambda: not delivery.fits(2001))
