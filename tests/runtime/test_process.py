"""From the end of a process's coroutine to its exit code."""

import errno
import os

import pytest

from runtime import process


async def fail(number: int) -> None:
    """As a call does that finds something exhausted."""
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_exhausted(number: int) -> None:
    """The process runs out of descriptors or memory → exit code 1, and no bug."""
    assert process.run(fail(number)) == process.FAILURE_EXIT_CODE


def test_another_error() -> None:
    """Any other error of the system is a bug → it is raised, so that its stack is logged."""
    with pytest.raises(OSError, match="Input/output error"):
        process.run(fail(errno.EIO))
