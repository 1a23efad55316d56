"""Whether this process may fork. The package's docstring explains why a thread or an epoll instance forbids it."""

import os

_EPOLL = "anon_inode:[eventpoll]"


def fork_obstacle() -> str:
    """Why this process must not fork and what to change; empty if it may."""
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        found = f"{threads} threads are running in it"
    elif _has_epoll():
        found = "an event loop or a gRPC channel is open in it"
    else:
        return ""
    return (
        f"the supervisor cannot fork because {found}; create gRPC channels, servers and event loops in the roles "
        "only, and import modules that start threads there too"
    )


def _has_epoll() -> bool:
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") == _EPOLL:
                return True
        except FileNotFoundError:  # the listing's own descriptor
            continue
    return False
