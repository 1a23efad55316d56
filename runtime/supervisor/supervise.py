"""Run the roles under supervisord until they are told to stop, or one of them cannot be kept running."""

import gc
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from supervisor.medusa import asyncore_25 as asyncore

from runtime import logs
from runtime.supervisor.options import ForkingOptions
from runtime.supervisor.output import OutputForwarder, write_all
from runtime.supervisor.role_supervisor import RoleSupervisor
from runtime.supervisor.role_table import RoleTable
from runtime.supervisor.roles import RestartPolicy, Role

FAILURE_EXIT_CODE = 1
TERMINATION_LOG = "/dev/termination-log"
DEFAULT_POLICY = RestartPolicy()


def supervise(
    roles: Sequence[Role],
    role_table: RoleTable,
    *,
    policy: RestartPolicy = DEFAULT_POLICY,
    as_json: bool = False,
    verbosity: int = 0,
    termination_log: str = TERMINATION_LOG,
) -> int:
    """Run the roles until a signal stops them all (exit code 0), or one of them cannot be kept running (1).

    The caller must have imported everything that the roles share, and must not have started a thread or created
    anything of gRPC's; the package's docstring explains why.
    """
    logs.configure("supervisor", as_json=as_json, verbosity=verbosity, stream=_PrefixedStderr(as_json))
    options = ForkingOptions(roles, policy, partial(logs.configure, as_json=as_json, verbosity=verbosity))
    options.realize(args=[], progname="supervisord")
    options.first, options.test = True, False
    # Keep the garbage collector, here and in the children, away from the pages that they share.
    gc.collect()
    gc.freeze()
    supervisor = RoleSupervisor(options, role_table, policy, OutputForwarder(as_json=as_json))
    with suppress(asyncore.ExitNow):
        supervisor.main()
    if supervisor.failure:
        write_termination_message(supervisor.failure, termination_log)
        return FAILURE_EXIT_CODE
    return 0


def write_termination_message(sentence: str, path: str = TERMINATION_LOG) -> None:
    """Write the reason where kubelet reads a container's termination message. Outside a container that file does not
    exist, and is not created.

    https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
    """
    with suppress(OSError):
        if os.path.exists(path):
            Path(path).write_text(sentence + "\n")


class _PrefixedStderr(io.TextIOBase):
    """Gives the supervisor's own log lines the form of the roles' lines."""

    def __init__(self, as_json: bool) -> None:
        self._prefix = b"" if as_json else b"[supervisor] "

    def write(self, text: str) -> int:
        """One log line, which ends with a newline."""
        write_all(sys.stderr.fileno(), self._prefix + text.encode())
        return len(text)

    def flush(self) -> None:
        """Nothing is buffered."""
