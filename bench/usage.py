"""CPU time, memory and wake-ups of processes, from /proc."""

import os
import re
import time
from contextlib import suppress
from pathlib import Path

_CPU_CLOCK = 2
_TICKS = os.sysconf("SC_CLK_TCK")
_KIB_PER_MIB = 1024.0
_SLEPT = re.compile(r"^voluntary_ctxt_switches:\s*(\d+)$", re.MULTILINE)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, to the nanosecond, and of those of its children that it has waited for, to
    the kernel's tick of some 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    # The clock of another process: clock_getcpuclockid(3) makes its number of the pid like this.
    return time.clock_gettime((~pid << 3) | _CPU_CLOCK) + sum(int(field) for field in fields[13:15]) / _TICKS


def process_tree(pid: int) -> list[int]:
    """The pids of the process and all its descendants."""
    pids = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the thread or the process has just ended
            for child in path.read_text().split():
                pids += process_tree(int(child))
    return pids


def wakeups(pid: int) -> int:
    """How often its threads have been woken so far, which is how often they went to sleep."""
    statuses = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status"))
    return sum(int(_SLEPT.findall(status)[0]) for status in statuses)


def pss(pid: int) -> float:
    """Proportional set size in MiB."""
    return _rollup(pid, "Pss:") / _KIB_PER_MIB


def rss(pid: int) -> float:
    """Resident set size in MiB: what a process has alone on a machine, where nothing is shared."""
    return _rollup(pid, "Rss:") / _KIB_PER_MIB


def anonymous(pid: int) -> float:
    """The part of the proportional set size that is not backed by files, in MiB."""
    return _rollup(pid, "Pss_Anon:") / _KIB_PER_MIB


def _rollup(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0
