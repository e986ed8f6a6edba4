"""Values as lines; no broker needed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrec.transport.kafka import Partition
from streamrec.transport.kafka.lines import join_lines, make_run

VALUES = st.lists(st.none() | st.text(alphabet="a\n \r{", max_size=4).map(str.encode), min_size=1, max_size=8)


@given(VALUES)
def test_one_line_a_value(values):
    lines = join_lines(values).split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == len(values)
    for line, value in zip(lines, values, strict=True):
        assert line.strip()
        blank = value is None or not value.strip()
        assert line == (b"null" if blank else value.replace(b"\n", b" "))


@pytest.mark.parametrize("offsets", [[7], [3, 4, 5], [0, 1, 5], [2, 3, 9, 10]])
def test_offsets_with_and_without_gaps(offsets):
    values = [b"%d" % offset for offset in offsets]
    run = make_run(Partition("t", 1), offsets[0], offsets[-1], iter(offsets), values)
    assert run.offsets.dtype == np.int64
    assert run.offsets.tolist() == offsets
    assert run.data.split() == values
    assert run.next_offset == offsets[-1] + 1
