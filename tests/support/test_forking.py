"""Work in a process of its own, whatever becomes of it."""

import multiprocessing
import os
import pkgutil
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support.forking import Died, in_fork


def pid_of_server() -> int:
    """The process that has forked this one; that it has more than one thread is an error."""
    assert len(list(Path(f"/proc/{os.getppid()}/task").iterdir())) == 1
    return os.getppid()


def raise_error() -> None:
    """As a bug in a test does."""
    raise ValueError("of the work")


def end(code: int) -> None:
    """End the process at once. coverage replaces os._exit by a function that cannot be pickled."""
    os._exit(code)


def wait_for_ever() -> None:
    """As for a lock that nobody releases."""
    threading.Event().wait()


def test_result() -> None:
    """Work that returns, twice → its values, and both from children of one server, which has a single thread and is
    not this process."""
    server, again = in_fork(pid_of_server), in_fork(pid_of_server)
    assert server == again != os.getpid()


def test_error() -> None:
    """Work that raises → an error with the stack."""
    with pytest.raises(AssertionError, match=r"in raise_error\n(.*\n)+ValueError: of the work"):
        in_fork(raise_error)


@pytest.mark.parametrize(("work", "code"), [(partial(end, 7), 7), (partial(end, 0), 0), (os.abort, -signal.SIGABRT)])
def test_death(work: Callable[[], object], code: int) -> None:
    """Work that ends its process → the exit code, or the signal."""
    with pytest.raises(Died) as died:
        in_fork(work)
    assert died.value.code == code


def test_hanging() -> None:
    """Work that never ends → an error after the time limit, and the process has been killed."""
    with pytest.raises(TimeoutError, match=r"wait_for_ever.* took more than 0\.1 s"):
        in_fork(wait_for_ever, seconds=0.1)
    assert not multiprocessing.active_children()


def test_nothing_is_left() -> None:
    """Work that returns, raises and dies → no descriptor of this process stays open."""
    in_fork(pid_of_server)
    before = len(os.listdir("/proc/self/fd"))
    for work, error in ((pid_of_server, None), (raise_error, AssertionError), (partial(end, 1), Died)):
        if error is None:
            in_fork(work)
        else:
            with pytest.raises(error):
                in_fork(work)
    assert len(os.listdir("/proc/self/fd")) == before


def fork_by_multiprocessing() -> None:
    """As a library does it."""
    multiprocessing.get_context("fork").Process().start()


@pytest.mark.parametrize("function", ["os:fork", "os:forkpty", "pty:fork", f"{__name__}:fork_by_multiprocessing"])
def test_a_test_does_not_fork(function: str) -> None:
    """The process of the tests forks, by whatever function → an error that says what to use."""
    with pytest.raises(RuntimeError, match=r"use tests\.support\.forking"):
        pkgutil.resolve_name(function)()
