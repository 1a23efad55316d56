"""supervisord's options, changed so that "executing" a program runs a role in the forked child."""

import errno
import io
import os
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from supervisor.options import ServerOptions

from runtime import logs
from runtime.supervisor.child import run_role
from runtime.supervisor.fork_safety import fork_obstacle
from runtime.supervisor.poller import WakingPoller
from runtime.supervisor.role_process import RoleConfig
from runtime.supervisor.roles import RestartPolicy, Role
from runtime.supervisor.supervisord_log import SupervisordLog

log = logs.get(__name__)

# http://supervisord.org/configuration.html
_SUPERVISORD_SECTION = """[supervisord]
nodaemon = true
silent = true
nocleanup = true
logfile = /dev/null
pidfile = /dev/null
minfds = 256
minprocs = 16
"""
_PROGRAM_SECTION = """[program:{name}]
command = {name}
priority = {priority}
autorestart = true
startretries = {retries}
stdout_logfile = NONE
stderr_logfile = NONE
stdout_events_enabled = true
stderr_events_enabled = true
"""


class ForkingOptions(ServerOptions):  # type: ignore[misc]  # the package is untyped
    """``roles`` take the place of command lines, and the configuration is generated, not read from a file.

    ``fork_refused`` is why the last fork was refused, empty if it was not. ``prepare_child`` is called in a child with
    the role's name.
    """

    def __init__(self, roles: Sequence[Role], policy: RestartPolicy, prepare_child: Callable[[str], None]) -> None:
        self._roles = {role.name: role for role in roles}
        self._policy = policy
        self._prepare_child = prepare_child
        self.fork_refused = ""
        self._pid = os.getpid()
        tempfile.tempdir = tempfile.tempdir or _fallback_tempdir()
        super().__init__()
        self.poller: WakingPoller = WakingPoller(self)

    def default_configfile(self) -> io.StringIO:
        """The configuration as the text that supervisord parses. It stops the program of the highest priority first."""
        last = len(self._roles)
        programs = (
            _PROGRAM_SECTION.format(name=role.name, priority=last - role.stop_order, retries=self._policy.start_retries)
            for role in self._roles.values()
        )
        return io.StringIO(_SUPERVISORD_SECTION + "".join(programs))

    def processes_from_section(self, parser: Any, section: str, group_name: str, klass: Any = None) -> list[Any]:
        """A section's programs as RoleConfig, with times in fractions of seconds, which the text cannot express."""
        configs = super().processes_from_section(parser, section, group_name, RoleConfig)
        for config in configs:
            config.startsecs = self._policy.start_seconds
            config.stopwaitsecs = self._roles[config.name].stop_seconds
        return list(configs)

    def make_logger(self) -> None:
        """Log where the roles log."""
        self.logger = SupervisordLog()

    def setsignals(self) -> None:
        """Install the handlers, then deliver the signals that the entry point has kept blocked until now.

        SIGHUP (restart) and SIGUSR2 (rotate logs) have no meaning in a container. SIGCHLD only wakes the poller.
        """
        super().setsignals()
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def write_pidfile(self) -> None:
        """Write none: the base class would unlink the path at the end, whatever is there."""

    def stat(self, filename: str) -> None:
        """Look for no file: a role is a function."""

    def check_execv_args(self, filename: str, argv: Sequence[str], st: Any) -> None:
        """Accept every role."""

    def fork(self) -> int:
        """Fork, unless ``fork_safety`` forbids it (OSError EDEADLK).

        Signals are blocked meanwhile. One that reached the child while it still has supervisord's handlers would be
        lost, and with it the order to stop.
        """
        self.fork_refused = fork_obstacle()
        if self.fork_refused:
            log.error("Cannot start a role", reason=self.fork_refused)
            raise OSError(errno.EDEADLK, "fork refused")
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = -1
        try:
            pid = os.fork()  # noqa: TID251  # this process has one thread
        finally:
            if pid != 0:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return pid

    def execve(self, filename: str, argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
        """In the child, where the base class would replace the process: run the role."""
        run_role(self._roles[argv[0]], self._pid, env, self._prepare_child)


def _fallback_tempdir() -> str | None:
    """With a read-only root there may be no temporary directory. supervisord asks for one, but never uses it here."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        return "/"
    return None
