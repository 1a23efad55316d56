"""All tests run in one private mount namespace, so that nothing they mount reaches the machine; without root also in
a user namespace."""

import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.support import forking, measuring, namespaces
from tests.support.mounts import unmount_below

HERE = Path(__file__).parent

# jsonschema imports it, if it is there, to check a format that no schema of ours has; its import takes a second.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # Python's way to say that there is none
namespaces.enter_private()
forking.refuse_fork()
# A shell's background job ignores SIGINT, and so would each process of ours that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """``-n auto``: three processes for each processor, because tests wait for more than half of their time."""
    return 3 * len(os.sched_getaffinity(0))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones come first, so that at the end no process is left with one that takes a minute."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """``-n``: tests that share an expensive fixture run in one process."""
    from tests.support.scheduling import Together  # here, because tests run without pytest-xdist, too

    return Together(config, log)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory with a short name in place of pytest's, which contains the test's name: a Unix socket's path has at
    most 107 bytes. At the end nothing of it is left, and nothing in it is mounted."""
    path = Path(tempfile.mkdtemp(prefix="t-"))
    try:
        yield path
    finally:
        unmount_below(path)
        shutil.rmtree(path)


@pytest.fixture(autouse=True, scope="module")
def _unmeasured(request: pytest.FixtureRequest) -> Iterator[None]:
    """Coverage is suspended for the suites that repeat one thing very often."""
    suite = request.path.relative_to(HERE).parts[0]
    with measuring.suspended() if suite in measuring.REPEATING else nullcontext():
        yield


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command that a test runs in this process redirects all logging to a stream that is closed after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
