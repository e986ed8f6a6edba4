"""Two halves of a computation at once."""

import threading

import pytest

from streamrec.layers.beside import beside


def test_both_are_computed_at_once_and_given_back_in_order():
    met = threading.Barrier(2, timeout=20)  # passes only where both are under way

    def half(name):
        met.wait()
        return name, threading.current_thread().name

    here, there = beside(lambda: half("here"), lambda: half("there"))
    assert (here[0], there[0]) == ("here", "there")
    assert here[1] != there[1]


@pytest.mark.parametrize("which", ["here", "there"])
def test_an_error_of_either_comes_out_when_both_are_over(which):
    over = []

    def half(name):
        if name == which:
            raise ZeroDivisionError(name)
        threading.Event().wait(0.05)
        over.append(name)

    with pytest.raises(ZeroDivisionError, match=which):
        beside(lambda: half("here"), lambda: half("there"))
    assert over == ["there" if which == "here" else "here"]
