"""Bytes in and out: recorded streams as sources, files as sinks, dead letters."""

from streamrec.transport.base import Chunk, Damage, KeyedSink, LiveSource, Position, Sink, Source
from streamrec.transport.deadletter import DeadLetters
from streamrec.transport.registry import open_letters, open_sink, open_source
from streamrec.transport.writer import LineWriter, write_stream

__all__ = [
    "Chunk",
    "Damage",
    "DeadLetters",
    "KeyedSink",
    "LineWriter",
    "LiveSource",
    "Position",
    "Sink",
    "Source",
    "open_letters",
    "open_sink",
    "open_source",
    "write_stream",
]
