"""Opening sources, sinks and dead letters by URL. A new transport is one file and one line here."""

from collections.abc import Callable, Mapping

from streamrec.errors import UsageError
from streamrec.transport.base import KeyedSink, Source
from streamrec.transport.deadletter import DeadLetters, FileLetters, Mark, NoLetters
from streamrec.transport.opening import Limits, Opening

__all__ = ["NOWHERE", "SCHEMES", "SINKS", "letters_name", "open_letters", "open_sink", "open_source"]

#: Instead of a place for dead letters: they are only counted.
NOWHERE = "none"


def _file(url: str, opening: Opening) -> Source:
    from streamrec.transport.file import open_file

    return open_file(url.removeprefix("file://"), opening.limits)


def _kafka(url: str, opening: Opening) -> Source:
    from streamrec.transport.kafka.source import open_kafka

    return open_kafka(url, opening)


def _file_sink(url: str) -> Callable[[], KeyedSink]:
    from streamrec.transport.log import FileLog, check_log

    path = url.removeprefix("file://")
    check_log(path)
    return lambda: FileLog(path)


def _kafka_sink(url: str) -> Callable[[], KeyedSink]:
    from streamrec.transport.kafka.sink import open_kafka_sink
    from streamrec.transport.kafka.url import parse_url

    place = parse_url(url)
    place.one_topic()
    return lambda: open_kafka_sink(place)


#: Scheme of a URL → what opens it. A path without a scheme is a file.
SCHEMES: Mapping[str, Callable[[str, Opening], Source]] = {
    "file": _file,
    "kafka": _kafka,
}

#: Scheme of a sink's URL → what checks the URL and gives what opens it.
SINKS: Mapping[str, Callable[[str], Callable[[], KeyedSink]]] = {
    "file": _file_sink,
    "kafka": _kafka_sink,
}


def open_source(
    url: str,
    *,
    chunk_bytes: int = Limits().chunk_bytes,
    max_line_bytes: int = Limits().max_line_bytes,
    live: bool = False,
    group: str | None = None,
) -> Source:
    """The stream at `url`: a file, a directory, `-` for standard input, or a registered scheme's URL.

    Files may be plain, gzip or Zstandard, whatever their names.

    chunk_bytes: about this much is read at a time.
    max_line_bytes: a longer line is damage, and is never held in memory whole.
    live: where the stream is one that others write to, go on when its present end is reached.
    group: under whose name the reader of a live stream is known to lag tools; None: nobody's.

    Raises:
        UsageError: the scheme is unknown, or a limit is not positive.
        SourceError: there is nothing at `url`, or nothing that could be read.

    """
    if chunk_bytes < 1 or max_line_bytes < 1:
        raise UsageError(
            f"chunk_bytes ({chunk_bytes}) and max_line_bytes ({max_line_bytes}) must be at least 1"
        )
    scheme = _scheme(url, SCHEMES, "a file, a directory, -")
    return SCHEMES[scheme](url, Opening(Limits(chunk_bytes, max_line_bytes), live, group))


def letters_name(place: str) -> str:
    """Under which name a commit keeps how far the letters of this place were written.

    Raises:
        UsageError: the URL is wrong.

    """
    if place == NOWHERE:
        return NoLetters.name
    if "://" not in place:
        return FileLetters.name
    if not place.startswith("kafka://"):
        raise UsageError(f"{place}: dead letters go to a file, kafka://host:port/topic or {NOWHERE}")
    from streamrec.transport.kafka.letters import topic_name

    return topic_name(place)


def open_letters(
    place: str, writer: str, mark: Mark = None, is_owner: Callable[[], bool] = lambda: True
) -> DeadLetters:
    """Dead letters to a file, to `kafka://host:port/topic`, or `none`.

    Args:
        place: where.
        writer: who writes them; says so in each letter, where a place may have several writers.
        mark: what the last commit kept for this place, None where none did.
        is_owner: whether the writer is still who may write, asked where another one has taken over.

    Raises:
        UsageError: the place cannot be written, or is not the one that the mark is of.
        BrokerError: the cluster does not answer, or refuses.

    """
    name = letters_name(place)
    if name == NoLetters.name:
        return NoLetters()
    if name == FileLetters.name:
        return FileLetters(place, mark)
    from streamrec.transport.kafka.letters import KafkaLetters

    return KafkaLetters(place, writer, mark, is_owner)


def open_sink(url: str) -> Callable[[], KeyedSink]:
    """What opens the sink at `url`: a file that grows, or a registered scheme's URL.

    The URL is checked at once, so that a misspelt one is told before anything runs; the broker is asked by
    the function that is returned. That one raises what the sink does (`BrokerError`, `SourceError`).

    Raises:
        UsageError: the scheme is unknown, or the URL is wrong.

    """
    return SINKS[_scheme(url, SINKS, "a file")](url)


def _scheme(url: str, known: Mapping[str, object], plain: str) -> str:
    scheme = url.partition("://")[0] if "://" in url else "file"
    if scheme not in known:
        urls = ", ".join(f"{name}://…" for name in known)
        raise UsageError(f"{url}: unknown scheme {scheme!r}: expected {plain} or {urls}")
    return scheme
