"""What a test does without a service that it needs."""

import os
from typing import NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """Skip, or fail where services are required."""
    if os.environ.get("STREAMREC_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
