"""Whether this process may be forked: a child gets one thread, and shares what the kernel keeps behind a descriptor.

gRPC's threads are gone in the child while their locks stay taken; an epoll instance, gRPC's or an event loop's, is one
for parent and children, and the first that closes or changes it breaks the others.
"""

import os

_EVENT_POLL = "anon_inode:[eventpoll]"


def why_not_fork() -> str:
    """The reason not to, and the remedy; empty if all is well."""
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        found = f"{threads} threads run in it"
    elif _polls_events():
        found = "an event loop or a gRPC channel is open in it"
    else:
        return ""
    return (
        f"the supervisor cannot fork, because {found}; create gRPC channels, servers and event loops in the roles "
        "only, and import what starts threads there"
    )


def _polls_events() -> bool:
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") == _EVENT_POLL:
                return True
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return False
