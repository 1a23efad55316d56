"""Starts the container of the storm as a container runtime would: ``python -m tests.faults.storm.launcher MEMORY
DIRECTORY=MOUNT_POINT… -- FLAGS…``.

1. A mount namespace and a PID namespace of its own; the container is PID 1 in the latter, so all of it dies with it.
2. Bind mounts of hostPath directories at other paths: a directory that is deleted on the host stays, dead, in the
   container. The pods directory keeps its path and propagates.
3. The clock is that of the machine plus a shift in shared memory. It is shifted where Python asks for it, because there
   is no namespace for this clock.
4. A role that gets SIGUSR1 writes its number of asyncio tasks into the shared memory, and the names of the runs of its
   background tasks into a file beside it.
"""

import asyncio
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.faults.storm.shared import Shared
from tests.support.mounts import bind, mount_proc

RUNTIME_EXIT_CODE = 128
ROLES = ("driver", "registrar", "probe")
SHIFT = "shift"
NAMES = (SHIFT, *ROLES)
RUN = " (run)"
"""How the name of a background task ends while it runs (``runtime.tasks``)."""
_CLONE_NEWNS, _CLONE_NEWPID = 0x00020000, 0x20000000
_PR_SET_PDEATHSIG = 1
_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
_libc = ctypes.CDLL(None, use_errno=True)


def main(argv: list[str]) -> int:
    """Steps 1 to 4; returns the container's exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # as ``container.start`` does, which comes too late here
    memory, *rest = argv
    end = rest.index("--")
    if _libc.unshare(_CLONE_NEWNS | _CLONE_NEWPID) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    pid = os.fork()  # noqa: TID251  # this program has one thread
    if pid:
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for pair in rest[:end]:
        source, _, target = pair.partition("=")
        try:
            bind(Path(source), Path(target))
        except FileNotFoundError:  # it was removed just now: a container runtime gives up, and kubelet tries again
            print(f"there is no {source} to mount", file=sys.stderr, flush=True)
            os._exit(RUNTIME_EXIT_CODE)
    mount_proc(Path("/proc"))
    shared = Shared(Path(memory), NAMES)
    _shift_clock(shared)
    _count_tasks(shared, memory)
    sys.argv[1:] = rest[end + 1 :]
    from container.start import main as run

    os._exit(run())


def _shift_clock(shared: Shared) -> None:
    real_time, real_utime = time.time, os.utime

    def shifted() -> float:
        return real_time() + shared[SHIFT]

    def utime(path: Any, times: Any = None, *, ns: Any = None, **options: Any) -> None:
        if times is None and ns is None:
            times = (shifted(), shifted())
        real_utime(path, times, **options) if ns is None else real_utime(path, ns=ns, **options)

    time.time = shifted
    os.utime = utime


def _count_tasks(shared: Shared, memory: str) -> None:
    def count(_: int, __: Any) -> None:
        role = Path("/proc/self/comm").read_text().strip()
        if role in ROLES:
            tasks = asyncio.all_tasks()
            names = sorted(task.get_name() for task in tasks)
            Path(f"{memory}.{role}").write_text("\n".join(name for name in names if name.endswith(RUN)))
            shared[role] = len(tasks)

    signal.signal(signal.SIGUSR1, count)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
