"""Run the roles under supervisord until they are told to stop, or one of them cannot be kept running."""

import gc
import os
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from supervisor.medusa import asyncore_25 as asyncore

from runtime import heartbeat, logs, memory
from runtime.supervisor.options import ForkingOptions
from runtime.supervisor.output import ContainerOutput, OwnStream
from runtime.supervisor.role_supervisor import RoleSupervisor
from runtime.supervisor.role_table import RoleTable
from runtime.supervisor.roles import RestartPolicy, Role
from runtime.supervisor.watchdog import REPORTS

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
    _open_missing_streams()
    output = ContainerOutput(as_json=as_json)
    logs.mark_lines(output.marker)
    stderr = OwnStream(output, "stderr")
    logs.configure("supervisor", as_json=as_json, verbosity=verbosity, stream=stderr)

    def prepare_child(name: str) -> None:
        logs.configure(name, as_json=as_json, verbosity=verbosity)
        heartbeat.report_to(lambda: role_table.report(name, memory.proportional_bytes()), policy.hang_seconds / REPORTS)

    options = ForkingOptions(roles, policy, prepare_child)
    options.realize(args=[], progname="supervisord")
    options.first, options.test = True, False
    # Keep the garbage collector, here and in the children, away from the pages that they share. A collection before
    # would find nothing after imports and cost a thirtieth of the start.
    gc.freeze()
    supervisor = RoleSupervisor(options, role_table, policy, output)
    try:
        with suppress(asyncore.ExitNow), redirect_stderr(stderr), redirect_stdout(OwnStream(output, "stdout")):
            supervisor.main()
    finally:
        output.close()
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


def _open_missing_streams() -> None:
    """Started with a standard stream closed, the next pipe would take its number, and our output would go there."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
