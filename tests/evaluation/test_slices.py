"""Slices against metrics of the selected examples."""

import json

import numpy as np
import pytest

from streamrec.errors import StoreMismatch
from streamrec.evaluation import ProgressiveMetrics, SliceTable
from streamrec.evaluation.blocks import Outcomes
from streamrec.events.block import BOOLEAN, NUMBER, STRING, EventBlock, Examples
from streamrec.hashing import hash_text

FIELDS = ["genres", "age", "kids"]
GENRES = ["drama", "comedy", "été", "war"]


def made(n: int = 400, seed: int = 0):
    """Examples with a bag of genres, a number and a boolean, their predictions, and the same as events."""
    rng = np.random.default_rng(seed)
    lines, entries, sizes = [], [], []
    for i in range(n):
        bag = [
            str(g) for g in rng.choice(GENRES, rng.integers(0, 3), replace=False, p=[0.5, 0.3, 0.15, 0.05])
        ]
        age, kids = float(rng.integers(20, 23)), bool(rng.integers(0, 2))
        lines.append(
            json.dumps({"user": f"u{i % 3}", "features": {"genres": bag, "age": age, "kids": kids}}).encode()
        )
        row = [(0, STRING, hash_text(g)) for g in bag]
        row += [(1, NUMBER, int(np.float64(age).view(np.uint64))), (2, BOOLEAN, hash_text(str(kids).lower()))]
        entries += row
        sizes.append(len(row))
    start = np.cumsum([0, *(len(line) + 1 for line in lines)])
    offsets = np.cumsum([0, *sizes]).astype(np.int64)
    columns = [
        np.array(c, t)
        for c, t in zip(zip(*entries, strict=True), (np.int32, np.uint8, np.uint64), strict=True)
    ]
    user = np.array([hash_text(f"u{i % 3}") for i in range(n)], np.uint64)
    zeros, times = np.zeros(n, np.uint64), np.zeros(n, np.int64)
    p = rng.uniform(0.1, 0.9, n).astype(np.float32)
    y, w = (rng.random(n) < p).astype(np.float32), rng.choice([1, 2], n).astype(np.float32)
    types = roles = np.zeros(n, np.uint8)
    examples = Examples(times, zeros, user, zeros, y, w, roles, y > 0, offsets, *columns)
    block = EventBlock(
        types,
        times,
        zeros,
        user,
        zeros,
        zeros,
        y.astype(float),
        w,
        roles,
        start[:-1],
        start[1:] - 1,
        offsets,
        *columns,
    )
    return examples, block, b"\n".join(lines) + b"\n", p, lines


def table_of(field: str, *, batch: int = 400, **kwargs) -> SliceTable:
    examples, block, data, p, _ = made()
    table = SliceTable(field, **kwargs)
    table.read_names(block, data, FIELDS)
    for at in range(0, len(p), batch):
        end = at + batch
        first, last = examples.entry_offsets[at], examples.entry_offsets[min(end, len(p))]
        part = Examples(
            *(column[at:end] for column in examples[:8]),
            examples.entry_offsets[at : end + 1] - first,
            *(column[first:last] for column in examples[9:]),
        )
        table = SliceTable.from_bytes(table.to_bytes())
        table.update(table.places(part, FIELDS), outcomes(part, p[at:end]))
    return table


def outcomes(examples: Examples, p: np.ndarray) -> Outcomes:
    return Outcomes(p, examples.labels, examples.weights, np.ones(len(p), np.float32))


@pytest.mark.parametrize(
    ("field", "value_of"),
    [
        ("genres", lambda event: event["features"]["genres"] or ["(absent)"]),
        ("age", lambda event: [f"{event['features']['age']:g}"]),
        ("kids", lambda event: [str(event["features"]["kids"]).lower()]),
        ("user", lambda event: [event["user"]]),
        ("item", lambda event: ["(absent)"]),
    ],
)
def test_a_slice_has_the_metrics_of_its_examples(field, value_of):
    examples, _, _, p, lines = made()
    slices = table_of(field).top()
    members: dict[str, list[int]] = {}
    for i, line in enumerate(lines):
        for value in value_of(json.loads(line)):
            members.setdefault(value, []).append(i)
    assert {s.value: s.examples for s in slices} == {value: len(rows) for value, rows in members.items()}
    for s in slices:
        metrics = ProgressiveMetrics()
        metrics.update(*(x[members[s.value]] for x in (p, examples.labels, examples.weights)))
        result = metrics.result()
        for name in ("base_rate", "log_loss", "ne", "calibration", "rmse"):
            assert getattr(s, name) == pytest.approx(result[name], rel=1e-12)
    sizes = [s.examples for s in slices if not s.value.startswith("(")]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_batches_and_storage_change_no_bit(batch):
    assert table_of("genres", batch=batch).to_bytes() == table_of("genres").to_bytes()


def test_what_is_taken_back_never_was():
    examples, _, _, p, _ = made()
    expected, table = table_of("genres").top(), SliceTable("genres")
    places, y, w = table.places(examples, FIELDS), examples.labels, examples.weights
    none, one = np.zeros_like(y), np.ones_like(y)
    for labels, weights, counts in ((none, w, one), (none, -w * y, none), (y, w * y, none)):
        table.update(places, Outcomes(p, labels, weights, counts))
    assert [(s.examples, s.base_rate) for s in table.top()] == [(s.examples, s.base_rate) for s in expected]
    assert [s.log_loss for s in table.top()] == pytest.approx([s.log_loss for s in expected], rel=1e-12)


def test_small_slices_are_pooled():
    full, two = table_of("genres").top(), table_of("genres").top(2)
    assert [s.value for s in two] == ["drama", "comedy", "(other)", "(absent)"]
    assert two[2].examples == full[2].examples + full[3].examples
    bounded = table_of("genres", most_values=1).top()
    assert sum(s.examples for s in bounded) == sum(s.examples for s in full)
    assert len(bounded) == 3


def test_text_is_a_table():
    lines = table_of("genres").to_text(2).splitlines()
    assert lines[0].split() == [
        "genres",
        "examples",
        "base",
        "rate",
        "log",
        "loss",
        "NE",
        "calibration",
        "RMSE",
    ]
    assert [line.split()[0] for line in lines[2:]] == ["drama", "comedy", "(other)", "(absent)"]
    assert len({len(line) for line in lines}) == 1
    assert "NE" not in table_of("age", is_click=False).to_text()


def test_a_value_without_a_name_shows_its_id():
    examples, _, _, p, _ = made()
    table = SliceTable("genres")
    table.update(table.places(examples, FIELDS), outcomes(examples, p))
    assert table.top(1)[0].value == f"#{hash_text('drama'):016x}"


@pytest.mark.parametrize("data", [b"", b"SRS1", b"x" * 64, SliceTable("a").to_bytes() + b"1"])
def test_other_bytes_are_refused(data):
    with pytest.raises(StoreMismatch, match="stored slices cannot be read"):
        SliceTable.from_bytes(data)
