"""The volume layer's system calls, one of which ends the process or fails."""

import os
import posix
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from driver.volume import content, entries, layout, mounts, record, remove, syscalls, walk, writer

CHANGES = ("mkdir", "symlink", "rename", "unlink", "rmdir", "write", "fchmod", "fchown", "utime", "setxattr")
SYSCALLS = ("exchange", "mount", "unmount", "clone_mount")
MODULES = (content, entries, layout, mounts, record, remove, walk, writer)
KILLED = 9


class _Os:
    """Replaces the module ``os``."""

    def __init__(self, counted: Callable[[Any], Any]) -> None:
        self._counted = counted

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._counted(real) if name in CHANGES else real


@contextmanager
def interrupting(calls: int, interrupt: Callable[[], None]) -> Iterator[None]:
    """Call ``interrupt`` in place of the changing system call that follows so many others; it may raise."""
    left = calls

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def maybe(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == -1:
                interrupt()
            return call(*args, **kwargs)

        return maybe

    with pytest.MonkeyPatch.context() as patch:
        for module in MODULES:
            if hasattr(module, "os"):
                patch.setattr(module, "os", _Os(counted))
        for name in SYSCALLS:
            patch.setattr(syscalls, name, counted(getattr(syscalls, name)))
        yield


def killed(work: Callable[[], object], calls: int) -> bool:
    """Do the work in a process that is killed before one of its system calls; returns whether it was. By posix._exit,
    because os._exit would write coverage data."""
    child = os.fork()
    if child == 0:
        # Hypothesis makes random numbers repeatable; the parent would draw the same ones for its names.
        random.seed(time.monotonic_ns())
        try:
            with interrupting(calls, lambda: posix._exit(KILLED)):
                work()
            posix._exit(0)
        finally:
            posix._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED), code
    return code == KILLED
