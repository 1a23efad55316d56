"""Drivers and whole containers, started and killed very often."""

from collections.abc import Iterator

import pytest

from tests.support import measuring


@pytest.fixture(autouse=True, scope="module")
def _unmeasured() -> Iterator[None]:
    """Coverage is what the tests reach that name what they expect."""
    with measuring.suspended():
        yield
