"""Nothing that comes from Redis or Kafka is ever executed: no code on these paths can, and poison does nothing."""

import ast
import json
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from crc32c import crc32c

import streamrec
from streamrec.clock import SystemClock
from streamrec.errors import StoreMismatch
from streamrec.events.decoder import BlockDecoder
from streamrec.features.spec import FeatureSpec, Field
from streamrec.models.pipeline import Pipeline
from streamrec.models.settings import ModelSettings
from streamrec.serving.scorer import Scorer
from streamrec.store.base import Commit
from streamrec.store.keys import Keys
from streamrec.store.redis import RedisStore

ROOT = Path(streamrec.__file__).parents[1]
#: They read no store and no topic. `datasets.order` pickles runs of a sort into files of its own process;
#: `_cache` is about what Numba keeps on this machine's disk. Benchmarks read files that they have just written.
ELSEWHERE = {
    "streamrec/cli/bench",
    "streamrec/datasets",
    "streamrec/testing",
    "streamrec/services",
    "streamrec/_cache.py",
}
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "code",
    "codeop",
}
CALLS = {"eval", "exec", "compile", "__import__"}


def executes(source: str) -> Iterator[str]:
    """What in a module could turn bytes into behaviour."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from (f"import {name}" for name in names if name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if isinstance(node.func, ast.Name) and name in CALLS:
                yield f"{name}()"
            if any(keyword.arg == "allow_pickle" for keyword in node.keywords):
                yield f"{name}(allow_pickle=…)"
            if name in ("unsafe_load", "full_load") or (
                name == "load" and _of(node.func) in ("np", "numpy", "yaml")
            ):
                yield f"{_of(node.func)}.{name}()"


def _of(function: ast.expr) -> str:
    value = getattr(function, "value", None)
    return value.id if isinstance(value, ast.Name) else ""


def sources() -> Iterator[Path]:
    for package in ("streamrec", "workers"):
        for path in sorted((ROOT / package).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            if not any(place == each or place.startswith(f"{each}/") for each in ELSEWHERE):
                yield path


def test_no_code_behind_a_store_or_a_topic_can_execute_what_it_reads() -> None:
    found = {path.relative_to(ROOT).as_posix(): list(executes(path.read_text("utf-8"))) for path in sources()}
    assert len(found) > 150
    assert {place: what for place, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import joblib.numpy_pickle",
        "def f(x):\n    return eval(x)",
        "exec(b)",
        "np.load(f)",
        "np.frombuffer(b, allow_pickle=True)",
        "yaml.load(b)",
    ],
)
def test_the_check_can_fail(source: str) -> None:
    assert list(executes(source))


class Bomb:
    """Unpickling it makes a file; so would running its source."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def poisons(path: Path) -> list[bytes]:
    source = f"open({str(path)!r}, 'w')"
    return [
        pickle.dumps(Bomb(path)),
        pickle.dumps(Bomb(path), protocol=0),
        source.encode(),
        json.dumps({"py/reduce": [{"py/function": "builtins.eval"}, [source]]}).encode(),
        b"[" * 100_000,
    ]


def entry(header: bytes) -> bytes:
    """A log entry with a good checksum and somebody else's header."""
    header += b" " * (-len(header) % 8)
    data = struct.pack("<3sBI", b"SRC", 1, len(header)) + header
    return data + struct.pack("<I", crc32c(data))


@pytest.fixture
def poisoned(redis_url: str, request: pytest.FixtureRequest) -> Iterator[tuple[RedisStore, str, redis.Redis]]:
    """A store with one good commit, a client to spoil it with."""
    store, name = RedisStore(redis_url), f"poison {request.node.name}"
    pipeline = Pipeline(ModelSettings(), FeatureSpec(fields=(Field(name="user", kind="category"),)))
    lease = store.acquire(name, fresh=True)
    lease.commit(Commit(1, pipeline.take_changed(), {"model": pipeline.describe(), **pipeline.blobs()}, 1))
    lease.close()
    with redis.Redis.from_url(redis_url) as client:
        yield store, name, client
    store.close()


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("blob", ["model", "frame"])
def test_a_poisoned_blob_is_a_mismatch(poisoned: Any, tmp_path: Path, n: int, blob: str) -> None:
    store, name, client = poisoned
    poison = poisons(tmp_path / "pwned")[n]
    if blob == "frame":  # as many bytes as whole numbers have: their count must be looked at, too
        poison += b" " * (-len(poison) % 8)
    assert client.hset(Keys(name).blobs, blob, poison) == 0  # it was there
    scorer = Scorer(store, name, SystemClock())
    with pytest.raises(StoreMismatch, match="stored ") as caught:
        scorer.load()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("form", ["raw", "signed", "foreign"])
def test_a_poisoned_commit_is_a_mismatch(poisoned: Any, tmp_path: Path, n: int, form: str) -> None:
    store, name, client = poisoned
    scorer = Scorer(store, name, SystemClock())
    assert scorer.load()
    poison = poisons(tmp_path / "pwned")[n]
    keys = Keys(name)
    fields = {"i": 0, "n": 1, "a": 0, "d": entry(poison) if form == "signed" else poison}
    name_of_it = f"2-{(1 << 20) + 1}"
    client.xadd(keys.log, {"d": poison} if form == "foreign" else fields, id=name_of_it)
    client.hset(keys.head, "seq", 2)
    client.xadd(keys.tick, {"s": ""}, id=name_of_it)
    with pytest.raises(StoreMismatch, match="log entry 2") as caught:
        scorer.step()
    assert "\n" not in str(caught.value)
    with scorer.reading() as (_, version):
        assert version.seq == 1  # it goes on answering from the whole generation
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("n", range(5))
def test_a_poisoned_record_is_rejected(tmp_path: Path, n: int) -> None:
    """What Kafka brings are lines to the decoder, whatever is in them."""
    block, rejections = BlockDecoder().decode(poisons(tmp_path / "pwned")[n] + b"\n")
    assert rejections
    assert len(block.type) == 0
    assert not (tmp_path / "pwned").exists()
