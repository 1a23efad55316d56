"""The node's network: a namespace of its own, with a bridge that has the node's address, and a route for the API
server's service address."""

import ctypes
import os
import subprocess

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

ADDRESS = "10.77.0.1"
SERVICE = "10.96.0.1"
POD_NETWORK = "10.88.0.0/16"


def run(*command: str) -> str:
    """Run a program and return its output, which an error shows, too."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}{done.stdout}"
    return done.stdout


def enter_network() -> None:
    """Leave the machine's network namespace: devices, addresses and rules created from here on end with this
    process."""
    if _libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "unshare(CLONE_NEWNET)")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "node0", "type", "bridge")
    run("ip", "addr", "add", f"{ADDRESS}/24", "dev", "node0")
    run("ip", "link", "set", "node0", "up")
    run("ip", "route", "add", "default", "dev", "node0")
    run("sysctl", "-qw", "net.ipv4.ip_forward=1")


def route_service(port: int) -> None:
    """Route the API server's service address to the API server, as kube-proxy does in a cluster."""
    for chain in ("OUTPUT", "PREROUTING"):
        run(
            "iptables",
            "-t",
            "nat",
            "-A",
            chain,
            "-d",
            SERVICE,
            "-p",
            "tcp",
            "--dport",
            "443",
            "-j",
            "DNAT",
            "--to-destination",
            f"{ADDRESS}:{port}",
        )
