"""How many descriptors the container's processes may have open (RLIMIT_NOFILE)."""

import resource
from contextlib import suppress

from runtime.errors import ConfigurationError
from runtime.limits import LEAST_DESCRIPTORS, WANTED_DESCRIPTORS


def raise_limit() -> None:
    """Raise this process's limit, which its children inherit, to WANTED_DESCRIPTORS, or as far as is permitted. Raises
    ConfigurationError if that is not enough to run."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in ((WANTED_DESCRIPTORS, _highest(hard, WANTED_DESCRIPTORS)), (_lowest(hard, WANTED_DESCRIPTORS), hard)):
        if soft != resource.RLIM_INFINITY and soft < wanted[0]:
            with suppress(OSError, ValueError):  # the hard limit may be raised with CAP_SYS_RESOURCE only
                resource.setrlimit(resource.RLIMIT_NOFILE, wanted)
                soft = wanted[0]
    if soft != resource.RLIM_INFINITY and soft < LEAST_DESCRIPTORS:
        raise ConfigurationError(
            f"the container may open {soft} files only, and needs {LEAST_DESCRIPTORS}: raise the container runtime's "
            "limit of open files (LimitNOFILE of its systemd unit, ulimit -n)"
        )


def share_of_limit(part: int) -> int | None:
    """One ``part``-th of the descriptors that this process may open; None if there is no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft // part


def _highest(hard: int, wanted: int) -> int:
    return hard if hard == resource.RLIM_INFINITY else max(hard, wanted)


def _lowest(hard: int, wanted: int) -> int:
    return wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
