"""Opening a source or a sink by its URL. A new transport is one file and one line here."""

from collections.abc import Callable, Mapping

from streamrec.errors import UsageError
from streamrec.transport.base import KeyedSink, Source
from streamrec.transport.opening import Limits, Opening

__all__ = ["SCHEMES", "SINKS", "open_sink", "open_source"]


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
