"""supervisord's main loop: start the roles, restart those that die, stop all in order, and record why it ended."""

import signal
import time
from collections import defaultdict, deque
from functools import partial
from typing import Any

from supervisor import events
from supervisor.states import SupervisorStates
from supervisor.supervisord import Supervisor

from runtime import logs, memory
from runtime.supervisor.options import ForkingOptions
from runtime.supervisor.output import ContainerOutput
from runtime.supervisor.role_table import RoleTable
from runtime.supervisor.roles import RestartPolicy
from runtime.supervisor.watchdog import Watchdog

log = logs.get(__name__)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


class RoleSupervisor(Supervisor):  # type: ignore[misc]  # the package is untyped
    """supervisord under a RestartPolicy. ``failure`` is why the container has to end; empty if nothing failed."""

    def __init__(
        self, options: ForkingOptions, role_table: RoleTable, policy: RestartPolicy, output: ContainerOutput
    ) -> None:
        super().__init__(options)
        self.failure = ""
        self._role_table = role_table
        self._policy = policy
        self._output = output
        self._deaths: dict[str, deque[float]] = defaultdict(deque)
        self._stopping = False
        self._watchdog = Watchdog(role_table, policy, self._processes, self._fail)
        options.poller.processes = self._processes
        options.poller.longest_wait = self._watchdog.seconds_until_check

    def runforever(self) -> None:
        """The main loop. Events are subscribed to here, because ``run`` clears earlier subscriptions."""
        events.subscribe(events.ProcessLogEvent, self._output.forward)
        events.subscribe(events.ProcessStateFatalEvent, self._on_fatal)
        events.subscribe(events.ProcessStateBackoffEvent, self._on_failed_start)
        events.subscribe(events.ProcessStateExitedEvent, self._on_death)
        events.subscribe(events.ProcessStateStoppedEvent, lambda event: self._record_exit(event.process))
        self.handle_signal()  # an order to stop that came before: then no role is started
        super().runforever()

    def add_process_group(self, config: Any) -> bool:
        """Add a role (a group of one program); its starts are recorded in the role table."""
        added = bool(super().add_process_group(config))
        for process in self.process_groups[config.name].processes.values():
            process.on_start = partial(self._record_start, process.config.name)
        return added

    def tick(self, now: float | None = None) -> None:
        """Part of each round of the main loop. supervisord's own ticks are events that nobody is subscribed to."""
        if self.options.mood == SupervisorStates.RUNNING and self._watchdog.check():
            self._role_table.report_own(memory.proportional_bytes())

    def get_process_map(self) -> dict[int, Any]:
        """What the main loop waits for: the roles' pipes, and the readers of our own output."""
        return {**super().get_process_map(), **{sink.fd: sink for sink in self._output.sinks}}

    def ordered_stop_groups_phase_1(self) -> None:
        """Stop the next role, at once: the base class lets one poll pass for each role that has already ended."""
        super().ordered_stop_groups_phase_1()
        while self.stop_groups and not self.stop_groups[-1].get_unstopped_processes():
            self.stop_groups.pop()
            super().ordered_stop_groups_phase_1()

    def handle_signal(self) -> None:
        """The first order to stop stops the roles in order; a second one kills them."""
        received = self.options.get_signal()
        if received not in _STOP_SIGNALS:
            return
        if not self._stopping:
            self._stopping = True
            log.info("Stopping", signal=signal.Signals(received).name)
            self.options.mood = SupervisorStates.SHUTDOWN
            return
        log.warning("Second signal: killing the roles that are still running")
        for process in self._processes():
            if process.pid:
                process.kill(signal.SIGKILL)

    def _processes(self) -> list[Any]:
        return [process for group in self.process_groups.values() for process in group.processes.values()]

    def _record_start(self, name: str, pid: int) -> None:
        self._role_table.record_start(name, pid, time.time())

    def _record_exit(self, process: Any) -> None:
        self._output.flush(process.config.name)
        if process.exit_code is not None:
            self._role_table.record_exit(process.config.name, process.exit_code)

    def _on_failed_start(self, event: Any) -> None:
        """A role died before it counted as up. supervisord has just set a delay of whole seconds: replace it."""
        process = event.process
        self._record_exit(process)
        process.delay = time.monotonic() + self._policy.delay(process.backoff)
        log.warning(
            "A role exited right after its start",
            role=process.config.name,
            times=process.backoff,
            how=self._describe_end(process),
        )

    def _on_death(self, event: Any) -> None:
        """A role that was up died: end the container if that happens too often, else set when it may restart."""
        process = event.process
        name, now = process.config.name, time.monotonic()
        self._record_exit(process)
        deaths = self._deaths[name]
        deaths.append(now)
        while deaths[0] < now - self._policy.window_seconds:
            deaths.popleft()
        log.warning("A role exited", role=name, deaths=len(deaths), how=self._describe_end(process))
        if len(deaths) > self._policy.max_restarts and self.options.mood == SupervisorStates.RUNNING:
            self._fail(f"{name} died {len(deaths)} times within {self._policy.window_seconds:g} s; see its log lines")
        process.not_before = now + self._policy.remaining_delay(len(deaths), now - process.started)

    def _on_fatal(self, event: Any) -> None:
        """supervisord has given up on a role. That also happens, and is no failure, when it stops one in back-off."""
        if self.options.mood == SupervisorStates.RUNNING:
            self._fail(f"{event.process.config.name} could not be kept running ({self._describe_end(event.process)})")

    def _describe_end(self, process: Any) -> str:
        if process.exit_code is None:
            return self.options.fork_refused or "it could not be forked"
        return describe_exit(process.exit_code)

    def _fail(self, reason: str) -> None:
        self.failure = reason
        log.error("Ending the container, so that it is restarted", reason=reason)
        self.options.mood = SupervisorStates.SHUTDOWN


def describe_exit(exit_code: int) -> str:
    """``3`` → ``exit code 3``; ``-9`` → ``killed by SIGKILL``."""
    return f"exit code {exit_code}" if exit_code >= 0 else f"killed by {signal.Signals(-exit_code).name}"
