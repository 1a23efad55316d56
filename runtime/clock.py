"""The clock by which everything is decided: it starts with the machine, goes on while that is suspended, and nobody can
set it.

The wall clock jumps when it is set: by hours on a node that boots with a wrong time. It is for what people read, and
for times that outlive the process, which are compared with care: ``moment_of``.
"""

import time


def now() -> float:
    """The present moment, in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wall_time(moment: float) -> float:
    """The Unix time of a moment, as the wall clock is set now."""
    return time.time() - (now() - moment)


def moment_of(wall_time: float) -> float | None:
    """The moment of a Unix time in the past; None for one in the future: the wall clock was wrong then, or is now."""
    age = time.time() - wall_time
    return now() - age if age >= 0 else None
