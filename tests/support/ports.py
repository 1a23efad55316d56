"""TCP ports for servers whose port must be known before they start.

Another process could take a port before the server does. Hence none is from the range from which the kernel takes ports
for those who do not ask for a certain one, and each process of the tests begins somewhere else and goes on from there.
"""

import random
import socket
from collections.abc import Iterator
from pathlib import Path

LOWEST = 12_000
"""Below are many that servers have by default."""
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def _candidates() -> Iterator[int]:
    """Ports for ever, in turn."""
    kernels = int(_RANGE.read_text().split()[0])
    ports = range(LOWEST, kernels) if kernels > LOWEST + 1000 else range(LOWEST, 2**16)
    start = random.SystemRandom().randrange(len(ports))  # tests seed the other one
    while True:
        yield from ports[start:]
        start = 0


_next_candidates = _candidates()


def free_ports(count: int, address: str = "") -> list[int]:
    """Ports that were free a moment ago, all different; without an ``address``, free at each one."""
    found: list[int] = []
    while len(found) < count:
        port = next(_next_candidates)
        with socket.socket() as probing:
            try:
                probing.bind((address, port))
            except OSError:
                continue  # in use
        found.append(port)
    return found


def free_port() -> int:
    """A port that was free a moment ago."""
    return free_ports(1)[0]
