"""What a forked child does before it is the role: it leaves behind everything of supervisord's."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NoReturn

from supervisor import events

from runtime import logs
from runtime.supervisor.roles import Role

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
BUG_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h
_libc = ctypes.CDLL(None, use_errno=True)

log = logs.get(__name__)


def become(role: Role, parent: int, environment: Mapping[str, str], configure_logs: Callable[[str], None]) -> NoReturn:
    """Run the role and end the process; supervisord must get neither a return nor an exception."""
    code = BUG_EXIT_CODE
    try:
        _leave_supervisor(role.name, parent, environment)
        configure_logs(role.name)  # until the role does it
        code = role.run()
    except SystemExit as end:
        code = _exit_code(end)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BaseException as bug:  # the last line of a process: whatever comes here is logged, or lost
        log.error("A role ended with a bug", exc=bug, role=role.name)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # closed, or nobody reads any more
                stream.flush()
        os._exit(code)


def _exit_code(end: SystemExit) -> int:
    """What ``sys.exit`` would make of it: nothing is success, a text goes to stderr."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code
    print(end.code, file=sys.stderr)
    return 1


def _leave_supervisor(name: str, parent: int, environment: Mapping[str, str]) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Blocked since before the fork: a SIGTERM of the meantime arrives here, and ends the process.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    events.clear()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died between the fork and the line above
        os._exit(1)
    _libc.prctl(_PR_SET_NAME, name.encode())
    os.environ.clear()
    os.environ.update(environment)
    # supervisord has put its pipes at 0, 1 and 2; the objects of the parent may hold text of its own.
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(os.dup(0), "r"),
        os.fdopen(1, "w", buffering=1, closefd=False),
        os.fdopen(2, "w", buffering=1, closefd=False),
    )
