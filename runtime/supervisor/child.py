"""What a forked child does before it runs its role: it drops everything that belongs to the supervisor."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NoReturn

from supervisor import events

from runtime import logs, privileges
from runtime.supervisor.roles import Role

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # prctl(2)
BUG_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
_libc = ctypes.CDLL(None, use_errno=True)

log = logs.get(__name__)


def run_role(role: Role, parent: int, environment: Mapping[str, str], prepare_child: Callable[[str], None]) -> NoReturn:
    """Run the role and end the process with its exit code, whatever happens: supervisord's main loop, which is further
    up on this stack, must get neither a return value nor an exception."""
    code = BUG_EXIT_CODE
    try:
        _detach(role.name, parent, environment)
        prepare_child(role.name)  # until the role configures them itself
        logs.log_what_python_prints()
        if role.privileges is not None and (kept := privileges.restrict(role.privileges)):
            log.warning("A role keeps privileges that it does not need", role=role.name, kept=", ".join(kept))
        code = role.run()
    except SystemExit as exit_request:
        code = _exit_code(exit_request)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BaseException as bug:  # the outermost frame of the role: what is not logged here is lost
        log.error("Unhandled exception in a role", exc=bug, role=role.name)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # closed, or without a reader
                stream.flush()
        os._exit(code)


def _exit_code(exit_request: SystemExit) -> int:
    """As the interpreter handles sys.exit(): None is success, any other object goes to stderr with exit code 1."""
    if exit_request.code is None:
        return 0
    if isinstance(exit_request.code, int):
        return exit_request.code
    print(exit_request.code, file=sys.stderr)
    return 1


def _detach(name: str, parent: int, environment: Mapping[str, str]) -> None:
    """Drop the supervisor's signal handlers, event subscriptions, environment and stream objects; end with it."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Signals have been blocked since before the fork: a SIGTERM that came meanwhile is delivered here and ends us.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    events.clear()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the supervisor died between the fork and the line above
        os._exit(1)
    _libc.prctl(_PR_SET_NAME, name.encode())
    os.environ.clear()
    os.environ.update(environment)
    # supervisord has put its pipes at 0, 1 and 2. The inherited stream objects may hold unwritten text of the parent.
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(os.dup(0), "r"),
        os.fdopen(1, "w", buffering=1, closefd=False),
        os.fdopen(2, "w", buffering=1, closefd=False),
    )
