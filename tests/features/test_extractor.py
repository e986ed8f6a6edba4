"""The compiled extractor against a plain Python one, and its promises: order, purity, cuts, state."""

from itertools import pairwise

import numpy as np
import pytest
from feature_oracle import Oracle, Row, bags_of, columns
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.errors import StoreMismatch
from streamrec.events.block import Examples
from streamrec.events.feedback import CORRECTION, EARLY, FINAL
from streamrec.features.batch import Batch
from streamrec.features.extract import Extractor
from streamrec.features.spec import REST, Cross, FeatureSpec, Field, Statistics

PLAIN = FeatureSpec(
    fields=(
        Field(name="user", kind="category"),
        Field(name="item", kind="category"),
        Field(name="c", kind="category"),
        Field(name="features.user", kind="category", source="features.user"),
        Field(name="tags", kind="bag"),
        Field(name=REST, kind="category", source=REST),
    )
)
STATELESS = FeatureSpec(
    fields=(
        Field(name="tags", kind="bag", pooling="sqrt"),
        Field(name="time", kind="time", parts=("hour", "weekday", "hour_of_week", "day")),
        Field(name="n", kind="number", edges=(-2.5, 0.0, 0.5, 3.7), normalise=False),
        Field(name="n again", kind="category", source="features.n"),
        Field(name="born", kind="time", source="features.m", parts=("day",)),
        Field(name="title", kind="text"),
        Field(name="user", kind="category"),
        Field(name=REST, kind="category", source=REST),
    ),
    crosses=(
        Cross(fields=("user", "tags")),
        Cross(fields=("tags", "time", "n"), limit=7),
        Cross(fields=("title", "n again")),
    ),
)
RICH = FeatureSpec(
    fields=(
        Field(name="user", kind="category", statistics=Statistics(prior=3)),
        Field(name="n", kind="number", edges=(0.0, 1.0), slope=True, statistics=Statistics(link="identity")),
        Field(name="m", kind="number"),
        Field(name="seconds", kind="number", source="time", buckets=False, slope=True),
        Field(name="tags", kind="bag", statistics=Statistics(prior=1)),
        Field(name="c", kind="category"),
        Field(name="item", kind="category", statistics=Statistics(half_life_s=600)),
    ),
    crosses=(
        Cross(fields=("user", "tags"), statistics=Statistics(prior=2, half_life_s=60)),
        Cross(fields=("n", "c", "m")),
    ),
)
DELAYED = RICH.model_copy(update={"lag_ms": 600_000})
SPECS = {"plain": PLAIN, "stateless": STATELESS, "rich": RICH, "delayed": DELAYED}

_WORDS = st.sampled_from(["a", "b", "c c", "", "é"])
_NUMBERS = st.one_of(st.integers(-9, 9), st.sampled_from([0.5, 1.5, -0.0, 1e9, 3.7]))
_VALUES = st.one_of(_WORDS, st.booleans(), st.none(), _NUMBERS, st.lists(_WORDS, max_size=4))
_FEATURES = st.dictionaries(st.sampled_from(["c", "tags", "n", "m", "title", "user", "new", "old"]), _VALUES)
_NAMES = st.sampled_from([None, "u1", "u2", "u3"])
_MINUTE = 60_000


@st.composite
def streams(draw: st.DrawFn) -> list[Row]:
    rows = []
    for _ in range(draw(st.integers(0, 14))):
        # repeated shapes are the fast path: half of the rows have their predecessor's features
        again = rows and draw(st.booleans())
        features = rows[-1].features if again else draw(_FEATURES)
        minute = draw(st.integers(-3, 60)) + 28_000_000
        label, weight = draw(st.sampled_from([0.0, 1.0])), draw(st.sampled_from([0.0, 1.0, 3.0]))
        role = draw(st.sampled_from([FINAL, FINAL, EARLY, CORRECTION]))
        rows.append(Row(features, draw(_NAMES), draw(_NAMES), minute * _MINUTE, label, weight, role))
    return rows


def extract(extractor: Extractor, rows: list[Row], names: list[str], learn: bool = True) -> Batch:
    examples = columns(rows, names, extractor.text_fields)
    return (extractor.extract if learn else extractor.preview)(examples, names)


def check(batch: Batch, oracle: Oracle, rows: list[Row]) -> None:
    assert batch.ids.dtype == np.uint64
    assert batch.values.dtype == batch.dense.dtype == np.float32
    for got, dense, row in zip(bags_of(batch), batch.dense, rows, strict=True):
        bags, columns_ = oracle.bags(row)
        assert [[i for i, _ in bag] for bag in got] == [[i for i, _ in bag] for bag in bags]
        values = [v for bag in bags for _, v in bag]
        np.testing.assert_allclose([v for bag in got for _, v in bag], values, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(dense, columns_, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", SPECS)
@given(rows=streams())
@settings(max_examples=150, deadline=None)
def test_equals_the_oracle(name: str, rows: list[Row]) -> None:
    check(extract(Extractor(SPECS[name]), rows, []), Oracle(SPECS[name]), rows)


@pytest.mark.parametrize("name", SPECS)
@given(rows=streams(), cuts=st.lists(st.integers(0, 14), max_size=4))
@settings(max_examples=60, deadline=None)
def test_cuts_do_not_matter(name: str, rows: list[Row], cuts: list[int]) -> None:
    names: list[str] = []
    whole, parts = Extractor(SPECS[name]), Extractor(SPECS[name])
    expected = extract(whole, rows, names)
    bounds = [0, *sorted(min(c, len(rows)) for c in cuts), len(rows)]
    batches = [extract(parts, rows[a:b], list(names)) for a, b in pairwise(bounds)]
    for column in ("ids", "values", "dense"):
        joined = np.concatenate([getattr(batch, column) for batch in batches])
        assert joined.tobytes() == getattr(expected, column).tobytes()
    assert parts.blobs() == whole.blobs()
    assert [t.digest() for t in parts.tables.values()] == [t.digest() for t in whole.tables.values()]


@given(rows=streams(), later=streams())
@settings(max_examples=60, deadline=None)
def test_preview_changes_nothing_and_ignores_labels(rows: list[Row], later: list[Row]) -> None:
    names: list[str] = []
    extractor = Extractor(RICH)
    extract(extractor, rows, names)
    before = (extractor.blobs(), extractor.tables["statistics"].digest())
    previewed = extract(extractor, later, names, learn=False)
    flipped = extract(extractor, [row._replace(label=1 - row.label) for row in later], names, learn=False)
    assert previewed.values.tobytes() == flipped.values.tobytes()
    assert previewed.ids.tobytes() == flipped.ids.tobytes()
    assert (extractor.blobs(), extractor.tables["statistics"].digest()) == before
    if later:
        learned = extract(extractor, later[:1], names)
        assert bags_of(previewed)[0] == bags_of(learned)[0]


def test_statistics_are_strictly_before_the_label() -> None:
    rng = np.random.default_rng(1)
    rows = [
        Row({"c": "x", "tags": ["a"]}, f"u{rng.integers(9)}", None, i, float(rng.random() < 0.3))
        for i in range(60)
    ]
    batch = extract(Extractor(RICH), rows, [])
    check(batch, Oracle(RICH), rows)
    with pytest.raises(AssertionError):  # the planted fault: a label that its own features know
        check(batch, Oracle(RICH, leak="label"), rows)
    batch = extract(Extractor(DELAYED), rows, [])
    check(batch, Oracle(DELAYED), rows)
    with pytest.raises(AssertionError):  # the planted fault: labels of the example's own epoch
        check(batch, Oracle(DELAYED, leak="live"), rows)


def test_an_example_does_not_depend_on_its_own_label() -> None:
    rows = [Row({"c": "x", "tags": ["a", "b"]}, "u1", "i1", label=1.0)] * 5
    flipped = [*rows[:-1], rows[-1]._replace(label=0.0)]
    one, other = extract(Extractor(RICH), rows, []), extract(Extractor(RICH), flipped, [])
    assert one.values.tobytes() == other.values.tobytes()


def test_order_of_the_json_does_not_matter() -> None:
    features = {"tags": ["b", "a"], "new": "x", "c": "1", "old": 7, "user": "v"}
    turned = dict(reversed(features.items()))
    names: list[str] = []
    for spec in SPECS.values():
        one = extract(Extractor(spec), [Row(features, "u", "i")], names)
        other = extract(Extractor(spec), [Row(turned, "u", "i")], names)
        assert bags_of(one) == bags_of(other)


def test_a_slice_of_a_block_is_enough() -> None:
    rows = [Row({"c": str(i), "tags": ["a"] * i}, "u") for i in range(6)]
    names: list[str] = []
    whole = columns(rows, names)
    part = Examples(*(column[2:5] for column in whole[:8]), whole.entry_offsets[2:6], *whole[9:])
    assert bags_of(Extractor(PLAIN).extract(part, names)) == bags_of(
        extract(Extractor(PLAIN), rows[2:5], names)
    )


@pytest.mark.parametrize("spec", [RICH, DELAYED])
def test_restored_state_goes_on_exactly(spec: FeatureSpec) -> None:
    rng = np.random.default_rng(2)
    numbers = rng.normal(size=(50, 2))
    rows = [
        Row({"n": n, "m": m, "tags": ["a", "b"]}, f"u{i % 7}", None, 10**12 + 90_000 * i, i % 2)
        for i, (n, m) in enumerate(numbers.tolist())
    ]
    names: list[str] = []
    undisturbed, first, second = Extractor(spec), Extractor(spec), Extractor(spec)
    extract(undisturbed, rows[:30], names)
    extract(first, rows[:30], names)
    second.restore(first.blobs())
    for ids, kept in first.tables["statistics"].pieces():
        second.tables["statistics"].upsert(ids, kept)
    assert (
        extract(second, rows[30:], names).values.tobytes()
        == extract(undisturbed, rows[30:], names).values.tobytes()
    )
    assert second.blobs() == undisturbed.blobs()
    assert Extractor(PLAIN).blobs() == {}
    with pytest.raises(StoreMismatch, match=r"expected \d+ bytes"):
        second.restore({"features": b"1234"})


def test_tables_grow() -> None:
    extractor = Extractor(RICH)
    rows = [Row({"c": "x"}, f"u{i}", f"i{i}", label=1.0) for i in range(80_000)]
    names: list[str] = []
    batch = extract(extractor, rows, names)
    assert len(extractor.tables["statistics"]) == 160_000
    assert len(batch) == 80_000
    again = extract(extractor, [rows[0]._replace(time_ms=rows[0].time_ms + 1)], names, learn=False)
    assert again.dense[0, 2:].any()


def test_counts_never_stick() -> None:
    """In float32, 2²⁴ + 1 = 2²⁴, and 2²² + .1 = 2²²: a pair of them has 48 bits."""
    spec = FeatureSpec(fields=(Field(name="user", kind="category", statistics=Statistics()),))
    extractor = Extractor(spec)
    rows, table = [Row({}, "u", label=1.0, weight=0.125)], extractor.tables["statistics"]
    user = extract(extractor, rows, []).ids[:1]
    row = table.get(user)[0]
    row[0, 2:6] = [2**24, 0, 2**23, 0]
    table.upsert(user, row)
    extract(extractor, rows * 3, [])
    n, s = table.get(user)[0][0, 2:6].astype(np.float64).reshape(2, 2).sum(1)
    assert (n, s) == (2**24 + 0.375, 2**23 + 0.375)


@pytest.mark.parametrize("wild_ms", [32_000_000_000_000, 0])
@pytest.mark.parametrize("place", [0, 7])
def test_one_wrong_time_does_not_end_the_epochs(wild_ms: int, place: int) -> None:
    rows = [Row({}, f"u{i % 3}", None, 1_700_000_000_000 + 1000 * i, float(i % 3 == 0)) for i in range(60)]
    broken = [*rows[:place], rows[place]._replace(time_ms=wild_ms, user="other"), *rows[place:]]
    spec = FeatureSpec(fields=(Field(name="user", kind="category", statistics=Statistics()),))
    good, bad = (extract(Extractor(spec), r, []).dense[-3:] for r in (rows, broken))
    np.testing.assert_allclose(good[:, 2], bad[:, 2], rtol=1e-6)  # n: nobody lost or froze
    np.testing.assert_allclose(good, bad, rtol=0.2, atol=0.2)  # p0 has one more label


def test_a_silence_of_weeks_is_no_wrong_time() -> None:
    rows = [Row({}, "u", None, 1_700_000_000_000 + 10**10 * i, 1.0) for i in range(5)]
    spec = FeatureSpec(fields=(Field(name="user", kind="category", statistics=Statistics()),))
    check(extract(Extractor(spec), rows, []), Oracle(spec), rows)


def test_unknown_fields_are_told_and_learned() -> None:
    extractor = Extractor(PLAIN)
    names: list[str] = []
    columns([Row({"never": "in an example"})], names)
    extract(extractor, [Row({"c": "x"})], names)
    assert extractor.unknown_fields == ()
    batch = extract(extractor, [Row({"c": "x", "late": "y"})], names)
    assert extractor.unknown_fields == ("late",)
    own = FeatureSpec(fields=(Field(name="late", kind="category"),))
    expected = extract(Extractor(own), [Row({"late": "y"})], names)
    assert bags_of(batch)[0][-1] == bags_of(expected)[0][0]


def test_a_batch_in_use_is_never_overwritten() -> None:
    extractor = Extractor(PLAIN)
    names: list[str] = []
    held = []
    for i in range(12):
        batch = extract(extractor, [Row({"c": f"{i}"}, f"u{i}")] * 50, names)
        held.append((batch.ids[3:], batch.ids[3:].copy(), batch.values, batch.offsets, batch.offsets.copy()))
    for ids, ids_then, values, offsets, offsets_then in held:
        assert np.array_equal(ids, ids_then)
        assert np.array_equal(offsets, offsets_then)
        assert (values == 1).all()


def test_memory_of_a_batch_is_used_again() -> None:
    extractor = Extractor(PLAIN)
    rows, names = [Row({"c": "x"}, "u")] * 50, []
    addresses = {extract(extractor, rows, names).ids.ctypes.data for _ in range(10)}
    assert len(addresses) <= 2


def test_no_examples() -> None:
    for spec in SPECS.values():
        batch = extract(Extractor(spec), [], [])
        assert len(batch.ids) == 0
        assert batch.offsets.tolist() == [0]


@pytest.mark.parametrize("x", [5e-324, 1e-300, 0.3, 1.0, 1.999, 2.0, 3.0, 4.0, 1e19, 1.7e308])
@pytest.mark.parametrize("edges", [(), (1.0,), (-4.0, 0.3, 2.0, 1e19)])
def test_buckets_hold_at_the_edges(x: float, edges: tuple[float, ...]) -> None:
    spec = FeatureSpec(fields=(Field(name="n", kind="number", edges=edges, normalise=False),))
    rows = [Row({"n": y}) for y in (x, -x, float(np.nextafter(x, 0)), 2 * x if x < 1e308 else x)]
    check(extract(Extractor(spec), rows, []), Oracle(spec), rows)


def test_wild_numbers_do_no_harm() -> None:
    rows = [Row({"m": x}) for x in (1e308, -1e308, 1e308, 0.0, 1.0)]
    batch = extract(Extractor(RICH), rows, [])
    assert np.isfinite(batch.values).all()
    assert np.isfinite(batch.dense).all()
