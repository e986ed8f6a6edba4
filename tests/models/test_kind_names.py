"""The kinds that settings take, that are built, and that the command's help names are the same."""

from typing import get_args

from streamrec.cli import options
from streamrec.models.registry import KINDS
from streamrec.models.settings import Kind


def test_every_kind_is_registered_and_named_in_the_help():
    assert set(KINDS) == set(get_args(Kind))
    named = options._KIND.removeprefix("Kind: ").split(";")[0].replace(" or ", ", ")
    assert named.split(", ") == list(KINDS)
