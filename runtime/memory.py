"""The memory of this process, with its part of what it shares with others.

Processes that were forked from one share most of their pages: the sum of their resident memory counts these once for
each. Their proportional memory (PSS, https://docs.kernel.org/filesystems/proc.html) adds up to what they really take.
Only a process itself may read it: those of the container are not dumpable.
"""

from contextlib import suppress

_FILE = "/proc/self/smaps_rollup"


def proportional_bytes() -> int:
    """The PSS of this process in bytes; 0 if it cannot be read, as in some sandboxes. Takes about a millisecond."""
    with suppress(OSError, ValueError, IndexError), open(_FILE) as lines:
        for line in lines:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
