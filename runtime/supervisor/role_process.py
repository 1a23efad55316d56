"""supervisord's process class, with restarts that wait and exit codes that are remembered."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import supervisor.process
from supervisor.dispatchers import POutputDispatcher
from supervisor.options import ProcessConfig
from supervisor.process import Subprocess
from supervisor.states import ProcessStates

from runtime.supervisor.role_output import RoleOutput


class _MonotonicTime:
    """What supervisord's process states take for the module ``time``: by the wall clock, a role that is stopped while
    the clock is set ahead would be killed at once, and one that has just started would count as up."""

    time = staticmethod(time.monotonic)


supervisor.process.time = _MonotonicTime


class RoleProcess(Subprocess):  # type: ignore[misc]  # the package is untyped
    """A supervised role.

    ``exit_code`` is how its last attempt ended (minus the number of a signal), None if it could not even be forked;
    ``started`` and ``not_before``, the earliest time of its next start, are moments of the monotonic clock, as are the
    base class's ``laststart`` and ``delay``. ``on_start`` is called with the pid of each start. ``ending`` is whether
    ``end_now`` has been called since.
    """

    exit_code: int | None = None
    started = 0.0
    not_before = 0.0
    ending = False
    on_start: Callable[[int], None]

    def seconds_until_restart(self) -> float:
        """How long it still has to wait; negative once it may start."""
        return self.not_before - time.monotonic()

    def spawn(self) -> int | None:
        """Start the role; returns its pid, None if that failed."""
        self.exit_code, self.started, self.ending = None, time.monotonic(), False
        pid: int | None = super().spawn()
        return pid

    def _spawn_as_parent(self, pid: int) -> int:
        self.on_start(pid)
        return int(super()._spawn_as_parent(pid))

    def end_now(self) -> None:
        """Kill the role. It counts as having died, and is restarted; ``kill`` would be an order to stop it for good."""
        if self.pid:
            self.ending = True
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def kill(self, sig: int) -> str | None:
        """Send a signal to end the role; returns an error text. A role that is stopped (SIGSTOP) would not see it until
        it is continued, and so take all of its ``stop_seconds``."""
        error: str | None = super().kill(sig)
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
        return error

    def finish(self, pid: int, sts: int) -> None:
        """The role has ended; remember how, since the base class forgets the number of a signal."""
        self.exit_code = os.waitstatus_to_exitcode(sts)
        super().finish(pid, sts)

    def transition(self) -> None:
        """Move to the next state if it is time to; an exited role has to wait for its restart."""
        if self.state != ProcessStates.EXITED or self.seconds_until_restart() <= 0:
            super().transition()


class RoleConfig(ProcessConfig):  # type: ignore[misc]  # the package is untyped
    """supervisord's configuration of a program, which creates its process."""

    def make_process(self, group: Any = None) -> RoleProcess:
        """Create a RoleProcess in place of the base class's Subprocess."""
        process = RoleProcess(self)
        process.group = group
        return process

    def make_dispatchers(self, proc: Any) -> tuple[dict[int, Any], dict[str, int | None]]:
        """Create the pipes of a role that is about to start, and read its output by RoleOutput."""
        dispatchers, pipes = super().make_dispatchers(proc)
        for fd, dispatcher in dispatchers.items():
            if isinstance(dispatcher, POutputDispatcher):
                dispatchers[fd] = RoleOutput(proc, dispatcher.event_type, fd)
        return dispatchers, pipes
