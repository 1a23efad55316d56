"""All tests run in one private mount namespace, so that nothing they mount reaches the machine; without root also in
a user namespace."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import forking, namespaces
from tests.support.mounts import unmount_below

namespaces.enter_private()
forking.refuse_fork()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """``-n auto``: one more process than processors, because tests wait for a good part of their time."""
    return len(os.sched_getaffinity(0)) + 1


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


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command that a test runs in this process redirects all logging to a stream that is closed after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
