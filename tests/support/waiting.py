"""Conditions awaited in place of sleeps."""

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Return as soon as ``condition()`` is true; an AssertionError naming ``what`` if it is not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.01)
