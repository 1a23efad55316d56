"""A piece of work in a process of its own that may die, or give up its privileges.

A test must not fork its own process: gRPC's threads and those of other tests do not exist in the child, but the locks
that they held do, and the child waits for them for ever. So one fresh interpreter with a single thread,
multiprocessing's fork server, forks once for each piece of work, in a few milliseconds.
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import NoReturn, TypeVar

from tests.support import measuring

# Imported once by the server rather than by each of hundreds of processes.
PRELOADED = ("tests.driver.volume.interrupted", "tests.driver.volume.support")
_context = multiprocessing.get_context("forkserver")
T = TypeVar("T")


class Died(Exception):
    """The process ended before its work did; ``code`` is its exit code, or minus the number of a signal."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the process ended with {code} before its work was done")
        self.code = code


def refuse_fork() -> None:
    """From now on this process cannot fork, by whatever library; starting programs (``subprocess``) is not affected."""

    def refuse() -> NoReturn:
        raise RuntimeError("a test must not fork its own process, which has threads; use tests.support.forking")

    for name in ("fork", "forkpty"):
        setattr(os, name, refuse)


def start_server() -> None:
    """Start the server, unless it runs: for tests that count their descriptors, since it takes two. It ends with this
    process."""
    _context.set_forkserver_preload(list(PRELOADED))
    with measuring.suspended():
        forkserver.ensure_running()


def in_fork(work: Callable[[], T], seconds: float = 30.0) -> T:
    """What ``work`` returns in a process of its own.

    ``work`` and what it returns must be picklable: functions of modules, or ``partial`` objects of them. What a test
    has patched in this process is not patched in the other.

    Raises: Died; AssertionError with the stack of what ``work`` raised; TimeoutError after ``seconds``, when the
    process has been killed.
    """
    start_server()
    receiving, sending = _context.Pipe(duplex=False)
    process = _context.Process(target=_run, args=(work, sending), daemon=True)
    outcome: tuple[bool, T] | None = None
    with receiving:
        with sending:
            process.start()
        over = receiving.poll(seconds)
        with suppress(EOFError):  # it has died
            outcome = receiving.recv() if over else None
    process.join(seconds if over else 0.0)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
    process.close()
    if code is None:
        raise TimeoutError(f"{work} took more than {seconds:g} s in a process of its own")
    if outcome is None:
        raise Died(code)
    succeeded, value = outcome
    assert succeeded, value
    return value


def _run(work: Callable[[], object], sending: Connection) -> None:
    try:
        outcome = True, work()
    except BaseException:
        outcome = False, traceback.format_exc()
    sending.send(outcome)
