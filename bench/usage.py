"""What processes take: CPU seconds and proportional memory, from /proc."""

import os
import re
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
MIB = 1024.0
_SLEPT = re.compile(r"^voluntary_ctxt_switches:\s*(\d+)$", re.MULTILINE)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of its children that it has waited for (mount and umount are such)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / _TICKS


def family(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # a thread, or the process, that has just ended
            for child in path.read_text().split():
                found += family(int(child))
    return found


def wakeups(pid: int) -> int:
    """How often its threads have gone to sleep so far: as often they were woken."""
    statuses = (path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status"))
    return sum(int(_SLEPT.findall(status)[0]) for status in statuses)


def pss(pid: int) -> float:
    """Proportional set size in MiB."""
    return _rollup(pid, "Pss:") / MIB


def anonymous(pid: int) -> float:
    """The part of it that no file backs, in MiB."""
    return _rollup(pid, "Pss_Anon:") / MIB


def _rollup(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0
