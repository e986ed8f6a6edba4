"""`streamrec send`: recorded stream → Kafka topic."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from streamrec.cli.options import json_option, print_result
from streamrec.errors import SourceError, StreamrecError, UsageError

if TYPE_CHECKING:
    from streamrec.cli.send.loop import Sender
    from streamrec.transport.kafka import KafkaUrl

__all__ = ["command"]

#: Lines that could not be sent are told one by one up to this: enough to see what is wrong.
_TOLD = 10
#: Read at a time where there is a rate: the progress bar tells of what was sent, not of a minute's supply.
_PACED_BYTES = 64 << 10
#: Chunks that wait with their keys while the one before is sent.
_AHEAD = 2
#: Exit code of a process that Ctrl-C ended, as shells have it; of one that SIGTERM ended: a failure.
_EXIT = {signal.SIGINT: 130, signal.SIGTERM: 1}


@click.command("send")
@click.argument("stream", metavar="FILE")
@click.argument("target", metavar="kafka://HOST:PORT/TOPIC")
@click.option(
    "--partitions", type=click.IntRange(1), help="Make the topic with so many partitions where there is none."
)
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), help="Send at most so many events per second."
)
@click.option("--skip", type=click.IntRange(0), default=0, help="Leave out the first so many: sent before.")
@click.option("--limit", type=click.IntRange(0), help="Send at most so many.")
@json_option
def command(stream: str, target: str, as_json: bool, **options: Any) -> None:
    """Send the events of FILE to a Kafka topic, in order, and wait until all are acknowledged.

    FILE is a file (.jsonl, .gz, .zst), a directory of files, or - for standard input. Every line is sent as
    it is, also one that is no event; blank lines are left out. Events are keyed, so that an impression and
    its clicks meet in one partition. Sending twice is harmless where events are joined: ids are known there.
    """
    from streamrec.cli.progress import counting_bar
    from streamrec.cli.send.loop import Plan, Sender, batches
    from streamrec.join.reader import read_ahead
    from streamrec.transport.kafka.sink import open_kafka_sink
    from streamrec.transport.kafka.url import parse_url
    from streamrec.transport.opening import Limits
    from streamrec.transport.registry import open_source

    place = parse_url(target)
    topic = place.one_topic()
    with ExitStack() as stack:
        chunk_bytes = Limits().chunk_bytes if options["rate"] is None else _PACED_BYTES
        source = open_source(stream, chunk_bytes=chunk_bytes)
        stack.callback(source.close)
        n_partitions = _partitions(place, options["partitions"])
        sink = open_kafka_sink(place)
        stack.callback(_close, sink)
        watch = stack.enter_context(counting_bar(f"send {stream}", "records"))
        plan = Plan(options["skip"], options["limit"], options["rate"])
        sender = Sender(sink, plan, _Told(), watch)
        signals = stack.enter_context(_obeyed(sender))
        lines = read_ahead(batches(source), _AHEAD)
        stack.callback(lines.close)
        try:
            sender.run(lines)
        except StreamrecError as fault:
            told = f"{fault}: {_progress(sender, plan.skip)}"
            if not signals:
                raise type(fault)(told) from None
            click.echo(f"streamrec: stopped: {told}", err=True)
            click.get_current_context().exit(_EXIT[signals[0]])
        result = {"topic": topic, "partitions": n_partitions, **_result(sender)}
    print_result(result, as_json)
    if signals:
        click.echo(f"streamrec: stopped: {_progress(sender, plan.skip)}", err=True)
        click.get_current_context().exit(_EXIT[signals[0]])


def _result(sender: "Sender") -> dict[str, Any]:
    return {
        "records": sender.records,
        "bytes": sender.bytes,
        "acknowledged": sender.acknowledged,
        "left_out": sender.left_out,
        "seconds": round(sender.seconds, 3),
        "records_per_s": round(sender.acknowledged / sender.seconds, 1),
        "interrupted": sender.stopped,
    }


def _partitions(place: "KafkaUrl", wanted: int | None) -> int:
    """How many partitions the topic has, made where it is missing and a number is wanted."""
    from streamrec.transport.kafka import open_admin

    topic = place.one_topic()
    admin = open_admin(place)
    try:
        n = admin.partitions(topic) if wanted is None else admin.ensure_topic(topic, wanted)
    except SourceError as fault:
        raise SourceError(f"{fault}: make it with --partitions N") from None
    finally:
        admin.close()
    if wanted not in (None, n):
        raise UsageError(
            f"{place.shown}: the topic has {n} partition(s), --partitions asks for {wanted}: "
            "take another topic, or leave --partitions out"
        )
    return n


def _progress(sender: "Sender", skipped: int) -> str:
    return (
        f"{sender.acknowledged:,} of {sender.records:,} records sent are acknowledged; "
        f"go on with --skip {skipped + sender.acknowledged}"
    )


class _Told:
    """Says on stderr what is not sent, the first few times."""

    def __init__(self) -> None:
        self._n = 0

    def __call__(self, line: str) -> None:
        self._n += 1
        if self._n <= _TOLD:
            click.echo(f"streamrec: {line}", err=True)
        elif self._n == _TOLD + 1:
            click.echo("streamrec: and more that is not sent; left_out counts it", err=True)


@contextmanager
def _obeyed(sender: "Sender") -> Iterator[list[signal.Signals]]:
    """SIGINT and SIGTERM stop the sender; a second one ends the process at once. Gives those that came."""
    came: list[signal.Signals] = []
    before = {number: signal.getsignal(number) for number in _EXIT}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, _: object) -> None:
        came.append(signal.Signals(number))
        restore()
        sender.stop()

    for number in before:
        signal.signal(number, stop)
    try:
        yield came
    finally:
        restore()


def _close(sink: Any) -> None:
    with suppress(StreamrecError):  # everything is acknowledged, or an error is under way already
        sink.close()
