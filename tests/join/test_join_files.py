"""`streamrec join` of a recorded stream: a file of examples, whole or not at all; the very joiner of topics."""

import gzip
import json

import numpy as np
import pytest
from click.testing import CliRunner
from join_topics import WINDOW_MS, events

from streamrec.cli.join import command
from streamrec.events.decoder import BlockDecoder
from streamrec.join.decode import decode_chunk
from streamrec.join.line_joiner import LineJoiner
from streamrec.join.settings import JoinSettings
from streamrec.transport.base import Chunk


def run(*arguments):
    return CliRunner().invoke(command, [*map(str, arguments), "--window", f"{WINDOW_MS}ms", "--json"])


@pytest.fixture
def recorded(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(line + b"\n" for _, line in events(2000)))
    return path


def joined_at_once(path):
    data = path.read_bytes()
    joiner = LineJoiner(JoinSettings(window_ms=WINDOW_MS))
    decoded = decode_chunk(Chunk("p", 0, data, (), len(data)), BlockDecoder())
    lines = joiner.push(decoded).lines
    return lines + joiner.finish().lines


def test_a_file_becomes_a_file(recorded, tmp_path):
    target, rejects = tmp_path / "examples.jsonl.gz", tmp_path / "rejects.jsonl"
    done = run(recorded, target, "--rejects", rejects)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    lines = gzip.decompress(target.read_bytes()).splitlines()
    assert lines == joined_at_once(recorded)
    n_items = sum(json.loads(line)["type"] == "item" for line in lines)
    assert n_items > 5
    assert result["examples"] == len(lines) - n_items
    assert result["rejected"] == len(rejects.read_bytes().splitlines()) > 20
    offsets = {json.loads(letter)["offset"] for letter in rejects.read_bytes().splitlines()}
    assert max(offsets) > np.mean(list(offsets)) > 0


def test_nothing_is_left_where_it_fails(recorded, tmp_path):
    target = tmp_path / "nowhere" / "examples.jsonl"
    assert "cannot be written" in str(run(recorded, target).exception)
    assert run(tmp_path / "missing.jsonl", tmp_path / "examples.jsonl").exception is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.jsonl"]
    assert "expected a file" in str(run(recorded, "kafka://localhost/examples").exception)
