"""All tests run in one private mount namespace, so that nothing they mount reaches the machine; without root also in
a user namespace."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import namespaces

namespaces.enter_private()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short one in place of pytest's: a Unix socket's path has at most 107 bytes, and pytest puts the test's name
    in."""
    path = Path(tempfile.mkdtemp(prefix="t-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command that a test runs in this process sends all logging to a stream that is closed with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
