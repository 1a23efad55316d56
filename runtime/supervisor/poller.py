"""A poller that sleeps until a signal arrives or a process needs attention.

supervisord polls once a second, and since PEP 475 (https://peps.python.org/pep-0475/) a signal does not interrupt that
wait: each restart would take up to a second. Here the signal module's wake-up descriptor ends the wait, and its length
follows from the states of the processes (http://supervisord.org/subprocess.html#process-states). While nothing is due
nothing wakes up.
"""

import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from supervisor.poller import PollPoller
from supervisor.states import ProcessStates, SupervisorStates

from runtime.supervisor.role_output import RoleOutput

IDLE_SECONDS = 60.0
_AT_ONCE = 0.0


class WakingPoller(PollPoller):  # type: ignore[misc]  # the package is untyped
    """``processes`` returns those whose states decide how long to wait, and ``longest_wait`` a limit for it."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        # An error also ends the wait for a reader: the next write finds out which one it is.
        self.WRITE = select.POLLOUT | select.POLLERR | select.POLLHUP
        self.processes: Callable[[], Iterable[Any]] = tuple
        self.longest_wait: Callable[[], float] = lambda: IDLE_SECONDS
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poller.register(self._wake_reader, self.READ)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)

    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        """The readable and writable descriptors. ``timeout``, supervisord's fixed second, is ignored."""
        now, running = time.monotonic(), self.options.mood == SupervisorStates.RUNNING
        waits = [max(_AT_ONCE, wait) for process in self.processes() for wait in _waits(process, now, running)]
        # supervisord handles one signal per iteration; more of them may have arrived.
        pending = self.options.signal_receiver._signals_recvd
        readable, writable = super().poll(_AT_ONCE if pending else min([*waits, self.longest_wait(), IDLE_SECONDS]))
        if self._wake_reader in readable:
            readable.remove(self._wake_reader)
            os.read(self._wake_reader, 4096)
        return readable, [fd for fd in writable if fd in self.writables]


def _waits(process: Any, now: float, running: bool) -> Iterator[float]:
    yield seconds_until_due(process, now, running)
    for dispatcher in process.dispatchers.values():
        if isinstance(dispatcher, RoleOutput) and (wait := dispatcher.seconds_until_retry) is not None:
            yield wait


def seconds_until_due(process: Any, now: float, running: bool) -> float:
    """Seconds until supervisord has something to do for the process. ``running`` is False while it shuts down, when it
    starts nothing any more."""
    state = process.state
    if state in (ProcessStates.STARTING, ProcessStates.STOPPING):
        return _until(process.delay, now)
    if not running:
        return IDLE_SECONDS
    if state == ProcessStates.EXITED:
        return float(process.seconds_until_restart())
    if state == ProcessStates.STOPPED and not process.laststart:
        return _AT_ONCE
    if state == ProcessStates.BACKOFF:
        return _AT_ONCE if process.backoff > process.config.startretries else _until(process.delay, now)
    return IDLE_SECONDS


def _until(moment: float, now: float) -> float:
    # supervisord acts when the moment lies in the past, not when it is reached
    return moment - now + 0.001
