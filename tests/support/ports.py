"""TCP ports for servers whose port must be known before they start."""

import socket


def free_ports(count: int, address: str = "") -> list[int]:
    """Ports that were free a moment ago, all different; without an ``address``, free at each one."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((address, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def free_port() -> int:
    """A port that was free a moment ago."""
    return free_ports(1)[0]
