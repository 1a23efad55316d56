"""supervisord's options with the seam: a program is a role, and "executing" one runs it in the forked child."""

import errno
import io
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from supervisor.options import ProcessConfig, ServerOptions
from supervisor.process import Subprocess
from supervisor.states import ProcessStates

from runtime import logs
from runtime.supervisor.child import become
from runtime.supervisor.guard import why_not_fork
from runtime.supervisor.poller import WakingPoller
from runtime.supervisor.roles import RestartPolicy, Role

log = logs.get(__name__)

_HEAD = """[supervisord]
nodaemon = true
silent = true
nocleanup = true
logfile = /dev/null
pidfile = /dev/null
minfds = 256
minprocs = 16
"""
_PROGRAM = """[program:{name}]
command = {name}
priority = {priority}
autorestart = true
startretries = {retries}
stdout_logfile = NONE
stderr_logfile = NONE
stdout_events_enabled = true
stderr_events_enabled = true
"""


class RoleProcess(Subprocess):  # type: ignore[misc]  # the package is untyped
    """A supervised role. ``ended_with`` is how its last try ended, None if it could not even be forked; ``not_before``
    is when it may start again. Moments are of the monotonic clock: a node's time may be set while we wait."""

    started = 0.0
    not_before = 0.0
    ended_with: int | None = None

    def rest(self) -> float:
        """Seconds until it may start again."""
        return self.not_before - time.monotonic()

    def spawn(self) -> int | None:
        """As the base class."""
        self.ended_with, self.started = None, time.monotonic()
        pid: int | None = super().spawn()
        return pid

    def finish(self, pid: int, sts: int) -> None:
        """As the base class, which forgets which signal it was."""
        self.ended_with = os.waitstatus_to_exitcode(sts)
        super().finish(pid, sts)

    def transition(self) -> None:
        """As the base class, but patient."""
        if self.state != ProcessStates.EXITED or self.rest() <= 0:
            super().transition()


class RoleConfig(ProcessConfig):  # type: ignore[misc]
    """Makes our kind of process."""

    def make_process(self, group: Any = None) -> RoleProcess:
        """As the base class, with the other class."""
        process = RoleProcess(self)
        process.group = group
        return process


class ForkingOptions(ServerOptions):  # type: ignore[misc]
    """``roles`` stand where supervisord has command lines; its configuration belongs to this package, not to a file."""

    def __init__(self, roles: Sequence[Role], policy: RestartPolicy, configure_logs: Callable[[str], None]) -> None:
        self._roles = {role.name: role for role in roles}
        self._policy = policy
        self._configure_logs = configure_logs
        self.fork_refused = ""
        self._pid = os.getpid()
        tempfile.tempdir = tempfile.tempdir or _any_directory()
        super().__init__()
        self.poller: WakingPoller = WakingPoller(self)

    def default_configfile(self) -> io.StringIO:
        """The configuration, as text that supervisord parses."""
        last = len(self._roles)
        programs = (
            _PROGRAM.format(name=role.name, priority=last - role.stop_order, retries=self._policy.start_retries)
            for role in self._roles.values()
        )
        return io.StringIO(_HEAD + "".join(programs))

    def processes_from_section(self, parser: Any, section: str, group_name: str, klass: Any = None) -> list[Any]:
        """Our kind of process; fractions of seconds, which the text cannot say."""
        configs = super().processes_from_section(parser, section, group_name, RoleConfig)
        for config in configs:
            config.startsecs = self._policy.start_seconds
            config.stopwaitsecs = self._roles[config.name].stop_seconds
        return list(configs)

    def make_logger(self) -> None:
        """supervisord's own lines go where ours go."""
        self.logger = _SupervisorLog()

    def setsignals(self) -> None:
        """SIGHUP means restart to supervisord, and SIGUSR2 log rotation; neither has a meaning here. SIGCHLD only
        wakes the poller. What an entry point has kept blocked until now is taken."""
        super().setsignals()
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def write_pidfile(self) -> None:
        """None: it would be unlinked at the end, whatever it is."""

    def stat(self, filename: str) -> None:
        """A role is no file."""

    def check_execv_args(self, filename: str, argv: Sequence[str], st: Any) -> None:
        """Any of our roles can be run."""

    def fork(self) -> int:
        """Only where ``guard`` allows it. Signals wait meanwhile: one that came to the child before it has left
        supervisord's handlers behind would be lost, and with it the order to stop."""
        self.fork_refused = why_not_fork()
        if self.fork_refused:
            log.error("Cannot start a role", reason=self.fork_refused)
            raise OSError(errno.EDEADLK, "fork refused")
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return pid

    def execve(self, filename: str, argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
        """In the child: be the role."""
        become(self._roles[argv[0]], self._pid, env, self._configure_logs)


class _SupervisorLog:
    """supervisord's logger interface on ours: its chatter only at higher verbosity."""

    handlers: Sequence[Any] = ()

    def blather(self, text: str, **fields: object) -> None:
        """Of no interest."""

    trace = debug = blather

    def info(self, text: str, **fields: object) -> None:
        """What supervisord does, state by state."""
        log.verbose(2, text)

    def warn(self, text: str, **fields: object) -> None:
        """Deaths and signals."""
        log.warning(text)

    def error(self, text: str, **fields: object) -> None:
        """What went wrong."""
        log.error(text)

    critical = error

    def log(self, level: int, text: str, **fields: object) -> None:
        """Output of the programs, which is passed through elsewhere."""

    def close(self) -> None:
        """Nothing is open."""


def _any_directory() -> str | None:
    """With a read-only root there may be no temporary directory, which supervisord insists on but never uses here."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        return "/"
    return None
