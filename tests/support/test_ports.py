"""Ports for servers of tests."""

import socket
from pathlib import Path

from tests.support.ports import LOWEST, free_port, free_ports


def test_ports_that_the_kernel_does_not_give() -> None:
    """Ask for ports → all are different, free, and outside of the range that the kernel gives ports from by itself."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = [*free_ports(20), free_port()]
    assert len(set(ports)) == 21 and all(LOWEST <= port < first for port in ports)
    for port in ports:
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))


def test_a_port_in_use() -> None:
    """The next port is in use, at one address only → it is not given."""
    port = free_port()
    with socket.socket() as server:
        server.bind(("127.0.0.1", port + 1))
        assert free_port() != port + 1
