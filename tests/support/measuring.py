"""Coverage of the tests' own process."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import coverage
import pytest

from tests.support import unmeasured

# The folders of the suites that repeat one thing very often.
REPEATING = ("attacks", "faults", "fuzz")


@contextmanager
def suspended() -> Iterator[None]:
    """Meanwhile neither this process nor one that it starts is measured. What is repeated very often is reached by
    other tests too, and measuring takes as long again as what is measured."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in unmeasured.VARIABLES.items():
            patch.setenv(name, value)
        if coverage.Coverage.current() is None:  # a debugger's trace function stays
            yield
            return
        here, of_threads = sys.gettrace(), threading.gettrace()
        sys.settrace(None)
        threading.settrace(None)
        try:
            yield
        finally:
            threading.settrace(of_threads)
            sys.settrace(here)
