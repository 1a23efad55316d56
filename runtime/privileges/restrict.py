"""Gives up privileges by prctl(2) and capset(2)."""

import ctypes
import resource
from collections.abc import Callable, Mapping
from typing import NamedTuple

from runtime.privileges import seccomp
from runtime.privileges.libc import check, libc

# capability.h
CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, SYS_ADMIN = 0, 1, 3, 4, 6, 7, 21
_LAST_POSSIBLE = 63
# prctl.h
_PR_SET_DUMPABLE, _PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 4, 23, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522


class Privileges(NamedTuple):
    """The capabilities that a process keeps, by number, and whether its system calls are filtered."""

    capabilities: frozenset[int]
    filtered: bool


NOTHING = Privileges(frozenset(), filtered=True)
"""For a process that needs sockets and files of its own user."""

VOLUMES = Privileges(frozenset({CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, SYS_ADMIN}), filtered=False)
"""For one that mounts, and writes files for any group. SETGID and SETUID are for the parser's process, which uses them
to become nobody."""


def harden() -> list[str]:
    """Give up what no process of the container needs, whatever its capabilities; returns what could not be."""
    return _try(
        {
            "core dumps": lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
            "new privileges": lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1),
            "being dumpable": lambda: _prctl(_PR_SET_DUMPABLE, 0),
        }
    )


def restrict(privileges: Privileges) -> list[str]:
    """Keep only these privileges; returns what could not be given up, as texts. Call it while there is one thread."""
    steps: dict[str, Callable[[], None]] = {
        "ambient capabilities": lambda: _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL),
        "capabilities of executed files": lambda: _drop_bounding_set(privileges.capabilities),
        "capabilities": lambda: _set_capabilities(privileges.capabilities),
    }
    kept = _try(steps) + harden()
    # Last, since a process without capabilities may filter only once it has given up new privileges.
    return kept + (_try({"system calls": seccomp.install}) if privileges.filtered else [])


def _try(steps: Mapping[str, Callable[[], None]]) -> list[str]:
    """Take the steps; returns the names and errors of those that failed."""
    failed = []
    for name, step in steps.items():
        try:
            step()
        except (OSError, ValueError) as error:
            failed.append(f"{name} ({error})")
    return failed


def _drop_bounding_set(keep: frozenset[int]) -> None:
    for number in range(_LAST_POSSIBLE + 1):
        state = libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0)
        if state < 0:  # the kernel knows no capability of this number, nor a higher one
            return
        if state == 1 and number not in keep:
            _prctl(_PR_CAPBSET_DROP, number)


def _set_capabilities(keep: frozenset[int]) -> None:
    """Permitted and effective: what is kept and was there; inheritable: none."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; the lower 32 bits, then the higher ones
    check(libc.capget(header, sets))
    mask = sum(1 << number for number in keep)
    permitted = (sets[1] | sets[4] << 32) & mask
    low, high = permitted & 0xFFFFFFFF, permitted >> 32
    wanted = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    check(libc.capset(header, wanted))


def _prctl(option: int, argument: int) -> None:
    check(libc.prctl(option, argument, 0, 0, 0))
