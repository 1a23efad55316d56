"""A wall clock that is set wrong."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

# Those that decide and report. Not gRPC, which turns time limits into times by this clock, and back by the kernel's,
# which no test can set.
PACKAGES = ("driver.publish", "driver.registry", "driver.volume", "driver.restore", "driver.sync", "runtime.clock")


@contextmanager
def clock_set(hours: float) -> Iterator[None]:
    """Meanwhile the wall clock is ahead by so many hours, for the driver's own modules in this process."""
    real = time.time

    def shifted() -> float:
        caller = sys._getframe(1).f_globals["__name__"]
        return real() + hours * 3600 if caller.startswith(PACKAGES) else real()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", shifted)
        yield
