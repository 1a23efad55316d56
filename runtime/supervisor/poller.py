"""A poller that a signal wakes and that waits no longer than until the next thing is due.

supervisord polls for a second at a time, and since PEP 475 a signal no longer ends that wait: every restart would
cost up to a second. The wake-up descriptor of the signal module ends it, and what is due next is read off the
processes' states. Where nothing is due, nothing wakes.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

from supervisor.poller import PollPoller
from supervisor.states import ProcessStates, SupervisorStates

IDLE = 60.0
# Where a moment is waited for, look this often: supervisord copes with a clock that was set back only when it looks.
_LONGEST_WAIT = 1.0
_AT_ONCE = 0.0


class WakingPoller(PollPoller):  # type: ignore[misc]  # the package is untyped
    """``processes`` gives those whose states decide how long to wait."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.processes: Callable[[], Iterable[Any]] = tuple
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poller.register(self._wake, self.READ)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)

    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        """As the base class, but woken when something is to be done, and not before."""
        now, running = time.time(), self.options.mood == SupervisorStates.RUNNING
        waits = [max(_AT_ONCE, due(process, now, running)) for process in self.processes()]
        # supervisord takes one signal a turn; more may have come at once.
        pending = self.options.signal_receiver._signals_recvd
        readable, writable = super().poll(_AT_ONCE if pending else min(waits, default=IDLE))
        if self._wake in readable:
            readable.remove(self._wake)
            os.read(self._wake, 4096)
        return readable, writable

    def _poll_fds(self, timeout: float) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = self._poller.poll(timeout * 1000)
        return found


def due(process: Any, now: float, running: bool) -> float:
    """Seconds until supervisord has something to do for the process; ``running`` is whether it still starts any."""
    state = process.state
    if state in (ProcessStates.STARTING, ProcessStates.STOPPING):
        return _until(process.delay, now)
    if not running:
        return IDLE
    if state == ProcessStates.EXITED:
        return float(min(process.rest(), _LONGEST_WAIT))
    if state == ProcessStates.STOPPED and not process.laststart:
        return _AT_ONCE
    if state == ProcessStates.BACKOFF:
        return _AT_ONCE if process.backoff > process.config.startretries else _until(process.delay, now)
    return IDLE


def _until(moment: float, now: float) -> float:
    # supervisord asks whether the moment has passed, not whether it has come
    return min(moment - now + 0.001, _LONGEST_WAIT)
