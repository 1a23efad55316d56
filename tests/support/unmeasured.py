"""Work whose coverage is not measured."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import coverage
import pytest

VARIABLES = {"COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}


def environment(**variables: str) -> dict[str, str]:
    """This process's environment with ``variables``, but without coverage: for a process that is killed, whose data
    would be lost, or that runs none of our code. Coverage costs each process about 0.1 s of CPU time."""
    return {**os.environ, **VARIABLES, **variables}


@contextmanager
def measuring_nothing() -> Iterator[None]:
    """Meanwhile neither this process nor one that it starts is measured: for a suite that does the same very often.
    What it reaches is reached by other tests too, and measuring takes as long again as what is measured."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VARIABLES.items():
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
