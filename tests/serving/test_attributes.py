"""Items by the values of their features, beside a dictionary."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrec.errors import StoreMismatch
from streamrec.serving.attributes import Attributes

VALUES = st.one_of(st.sampled_from(["war", "drama", "1", "true", ""]), st.sampled_from([1, 2.5, True, False]))
FEATURES = st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(VALUES, st.lists(st.sampled_from("xyz"))))
CHANGES = st.lists(st.dictionaries(st.integers(1, 12), FEATURES, max_size=8), max_size=12)


def has(value: object, wanted: list) -> bool:
    """A boolean is its text, as it is to the decoder; a number is not."""
    plain = [
        str(v).lower() if isinstance(v, bool) else v
        for v in [*(value if isinstance(value, list) else [value]), *wanted]
    ]
    own, others = plain[: len(plain) - len(wanted)], plain[len(plain) - len(wanted) :]
    return any(isinstance(a, str) == isinstance(b, str) and a == b for a in own for b in others)


@settings(max_examples=30, deadline=None)
@given(CHANGES, st.lists(st.one_of(VALUES, st.sampled_from("xyz")), min_size=1, max_size=3))
def test_as_a_dictionary(changes: list[dict[int, dict]], wanted: list) -> None:
    attributes, known = Attributes(), dict[int, dict]()
    for change in changes:
        known |= change
        texts = [json.dumps(features).encode() for features in change.values()]
        attributes.update(np.fromiter(change, np.uint64), texts)
        assert len(attributes) == len(known)
        for field in ("a", "b", "c"):
            expected = [i for i, f in sorted(known.items()) if field in f and has(f[field], wanted)]
            assert attributes.having(field, wanted).tolist() == expected


def test_many_changes_stay_few_blocks() -> None:
    attributes = Attributes()
    for n in range(300):
        items = np.arange(1, 4, dtype=np.uint64) + (n % 50)
        attributes.update(items, [b'{"n":%d}' % n] * 3)
    assert len(attributes._blocks) < 10
    assert sum(len(block.item) for block in attributes._blocks) < 600
    assert attributes.having("n", [299]).tolist() == [50, 51, 52]


def test_features_that_nobody_wrote_are_refused() -> None:
    with pytest.raises(StoreMismatch, match="stored features of an item"):
        Attributes().update(np.array([1], np.uint64), [b'{"a":{}}'])
