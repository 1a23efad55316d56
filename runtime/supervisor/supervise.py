"""supervisord's life: start the roles, keep them, end in order, and say how it ended."""

import gc
import io
import os
import signal
import sys
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from supervisor import events
from supervisor.medusa import asyncore_25 as asyncore
from supervisor.states import SupervisorStates
from supervisor.supervisord import Supervisor

from runtime import logs
from runtime.supervisor.options import ForkingOptions
from runtime.supervisor.passthrough import PassThrough, write_all
from runtime.supervisor.role_table import RoleTable
from runtime.supervisor.roles import RestartPolicy, Role

log = logs.get(__name__)

GAVE_UP_EXIT_CODE = 1
TERMINATION_LOG = "/dev/termination-log"
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def supervise(
    roles: Sequence[Role],
    role_table: RoleTable,
    *,
    policy: RestartPolicy = RestartPolicy(),  # noqa: B008
    as_json: bool = False,
    verbosity: int = 0,
    termination_log: str = TERMINATION_LOG,
) -> int:
    """Run the roles until a signal ends them all (exit code 0), or one of them cannot be kept alive (1).

    Whatever the roles share must have been imported before; nothing of gRPC may exist and no thread may run.
    """
    logs.configure("supervisor", as_json=as_json, verbosity=verbosity, stream=_Prefixed(as_json))
    options = ForkingOptions(roles, policy, partial(logs.configure, as_json=as_json, verbosity=verbosity))
    options.realize(args=[], progname="supervisord")
    options.first, options.test = True, False
    # Collected and frozen, the imported objects stay out of the children's collections, and so on shared pages.
    gc.collect()
    gc.freeze()
    supervisor = RoleSupervisor(options, role_table, policy, PassThrough(as_json=as_json))
    with suppress(asyncore.ExitNow):
        supervisor.main()
    if supervisor.failure:
        write_termination_message(supervisor.failure, termination_log)
        return GAVE_UP_EXIT_CODE
    return 0


def write_termination_message(sentence: str, path: str = TERMINATION_LOG) -> None:
    """Leave the reason where kubelet looks for it; outside a container there is no such file, and none is made."""
    with suppress(OSError):
        if os.path.exists(path):
            Path(path).write_text(sentence + "\n")


class RoleSupervisor(Supervisor):  # type: ignore[misc]  # the package is untyped
    """supervisord with our bounds: ``failure`` is why the container ends, empty as long as it need not."""

    def __init__(
        self, options: ForkingOptions, role_table: RoleTable, policy: RestartPolicy, output: PassThrough
    ) -> None:
        super().__init__(options)
        self.failure = ""
        self._role_table = role_table
        self._policy = policy
        self._output = output
        self._deaths: dict[str, deque[float]] = defaultdict(deque)
        self._told_to_stop = False
        options.poller.processes = self._processes

    def runforever(self) -> None:
        """Subscribe here: ``run`` clears earlier subscriptions."""
        events.subscribe(events.ProcessLogEvent, self._output.take)
        events.subscribe(events.ProcessStateFatalEvent, self._on_fatal)
        events.subscribe(events.ProcessStateBackoffEvent, self._on_early_death)
        events.subscribe(events.ProcessStateExitedEvent, self._on_death)
        events.subscribe(events.ProcessStateStoppedEvent, lambda event: self._note_end(event.process))
        self.handle_signal()  # one that came before this: then nothing is started
        super().runforever()

    def add_process_group(self, config: Any) -> bool:
        """As the base class; each start is noted for the roles to read."""
        added = bool(super().add_process_group(config))
        for process in self.process_groups[config.name].processes.values():
            self._note_starts(process)
        return added

    def ordered_stop_groups_phase_1(self) -> None:
        """As the base class, which lets a poll pass for each program that had ended before."""
        super().ordered_stop_groups_phase_1()
        while self.stop_groups and not self.stop_groups[-1].get_unstopped_processes():
            self.stop_groups.pop()
            super().ordered_stop_groups_phase_1()

    def handle_signal(self) -> None:
        """The first order to stop stops in order; a second one kills."""
        received = self.options.get_signal()
        if received not in _STOPPING:
            return
        if not self._told_to_stop:
            self._told_to_stop = True
            log.info("Stopping", signal=signal.Signals(received).name)
            self.options.mood = SupervisorStates.SHUTDOWN
            return
        log.warning("A second signal: killing what still runs")
        for process in self._processes():
            if process.pid:
                process.kill(signal.SIGKILL)

    def _processes(self) -> list[Any]:
        return [process for group in self.process_groups.values() for process in group.processes.values()]

    def _note_starts(self, process: Any) -> None:
        spawn_as_parent = process._spawn_as_parent

        def noted(pid: int) -> int:
            self._role_table.record_start(process.config.name, pid, time.time())
            return int(spawn_as_parent(pid))

        process._spawn_as_parent = noted

    def _note_end(self, process: Any) -> None:
        self._output.flush(process.config.name)
        if process.ended_with is not None:
            self._role_table.record_exit(process.config.name, process.ended_with)

    def _on_early_death(self, event: Any) -> None:
        """supervisord has just set a pause of whole seconds; ours begins with none."""
        process = event.process
        self._note_end(process)
        process.delay = time.time() + self._policy.delay(process.backoff)
        log.warning(
            "A role ended right after its start",
            role=process.config.name,
            times=process.backoff,
            how=self._how(process),
        )

    def _on_death(self, event: Any) -> None:
        process = event.process
        name, now = process.config.name, time.monotonic()
        self._note_end(process)
        deaths = self._deaths[name]
        deaths.append(now)
        while deaths[0] < now - self._policy.window_seconds:
            deaths.popleft()
        log.warning("A role ended", role=name, deaths=len(deaths), how=self._how(process))
        if len(deaths) > self._policy.restarts and self.options.mood == SupervisorStates.RUNNING:
            self._give_up(
                f"{name} died {len(deaths)} times within {self._policy.window_seconds:g} s; see its log lines"
            )
        process.not_before = now + self._policy.remaining_delay(len(deaths), now - process.started)

    def _on_fatal(self, event: Any) -> None:
        # Stopping makes a program that was in back-off FATAL too; that is no reason to fail.
        if self.options.mood == SupervisorStates.RUNNING:
            self._give_up(f"{event.process.config.name} could not be kept running ({self._how(event.process)})")

    def _how(self, process: Any) -> str:
        if process.ended_with is None:
            return self.options.fork_refused or "it could not be forked"
        return describe(process.ended_with)

    def _give_up(self, why: str) -> None:
        self.failure = why
        log.error("Ending the container, so that it is restarted", reason=why)
        self.options.mood = SupervisorStates.SHUTDOWN


def describe(ended_with: int) -> str:
    """``-9`` → ``killed by SIGKILL``."""
    return f"exit code {ended_with}" if ended_with >= 0 else f"killed by {signal.Signals(-ended_with).name}"


class _Prefixed(io.TextIOBase):
    """The supervisor's own log lines look like the roles'."""

    def __init__(self, as_json: bool) -> None:
        self._prefix = b"" if as_json else b"[supervisor] "

    def write(self, text: str) -> int:
        """One log line, with its newline."""
        write_all(sys.stderr.fileno(), self._prefix + text.encode())
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""
