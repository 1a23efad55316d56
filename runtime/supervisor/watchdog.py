"""Restarts a role that hangs: one whose event loop has not run for RestartPolicy.hang_seconds.

A role that is stopped (SIGSTOP) or blocked does not die, so nothing would restart it. kubelet's probe sees only the
driver. Such a role cannot be asked to end, and is killed; then it is restarted like any other that has died.

A moment in which the supervisor itself did not run, because the machine or the container was suspended, is no sign that
a role hangs: after each such moment all roles have the whole time again. Only roles that have reported since their
start are watched, so none is killed while it starts on a busy machine.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from supervisor.states import ProcessStates

from runtime import logs
from runtime.supervisor.role_table import RoleTable
from runtime.supervisor.roles import RestartPolicy

log = logs.get(__name__)

# The share of the time to wait after which the roles are looked at, and after which they report.
CHECKS, REPORTS = 4, 6


class Watchdog:
    """``check`` is to be called at least whenever ``seconds_until_check`` is over. ``processes`` returns the
    roles; ``fail`` ends the container, with a reason."""

    def __init__(
        self,
        role_table: RoleTable,
        policy: RestartPolicy,
        processes: Callable[[], Iterable[Any]],
        fail: Callable[[str], None],
    ) -> None:
        self._role_table = role_table
        self._limit = policy.hang_seconds
        self._max_hangs = policy.max_hangs
        self._processes = processes
        self._fail = fail
        self._interval = policy.hang_seconds / CHECKS
        self._checked = self._resumed = time.monotonic()
        self._hangs: dict[str, int] = {}

    def seconds_until_check(self) -> float:
        """How long the supervisor may sleep; infinite if no role is watched."""
        if not any(self._watched()):
            return float("inf")
        return max(0.0, self._checked + self._interval - time.monotonic())

    def check(self) -> bool:
        """Kill the roles that hang; returns whether it was time to look at them."""
        now = time.monotonic()
        late = now - self._checked
        if late < self._interval:
            return False
        if late > self._interval * 2:
            self._resumed = now
        self._checked = now
        for process, reported in self._watched():
            silence = now - max(reported, self._resumed)
            if silence > self._limit:
                self._end(process, silence)
        return True

    def _watched(self) -> Iterator[tuple[Any, float]]:
        for process in self._processes():
            if process.pid and process.state in (ProcessStates.STARTING, ProcessStates.RUNNING):
                reported = self._role_table.last_report(process.config.name)
                if reported and not process.ending:
                    yield process, reported

    def _end(self, process: Any, silence: float) -> None:
        name = process.config.name
        hangs = self._hangs[name] = self._hangs.get(name, 0) + 1
        log.error("A role hangs: killing it, so that it is restarted", role=name, seconds=round(silence), times=hangs)
        process.end_now()
        if hangs > self._max_hangs:
            self._fail(f"{name} has hung {hangs} times; see its log lines")
