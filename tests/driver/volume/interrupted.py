"""The volume layer's system calls, one of which ends the process or fails."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from driver.volume import content, entries, layout, mounts, record, remove, syscalls, walk, writer
from tests.support.forking import Died, in_fork

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
    """Do the work, which must be picklable, in a process that is killed before its system call number ``calls``,
    counted from 0; returns whether it was, or came to its end before."""
    try:
        in_fork(partial(_work_and_die, work, calls))
    except Died as died:
        assert died.code == KILLED, died
        return True
    return False


def _work_and_die(work: Callable[[], object], calls: int) -> None:
    with interrupting(calls, lambda: os._exit(KILLED)):
        work()
