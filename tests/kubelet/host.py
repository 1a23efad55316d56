"""The node's network: a namespace of its own with a bridge that carries the node's address, and the API's service
address."""

import ctypes
import os
import subprocess

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

ADDRESS = "10.77.0.1"
SERVICE = "10.96.0.1"
POD_NETWORK = "10.88.0.0/16"


def run(*command: str) -> str:
    """Run a program; its output. An error shows what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}{done.stdout}"
    return done.stdout


def enter_network() -> None:
    """Leave the machine's network: devices, addresses and rules made from here on are gone with this process."""
    if _libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "unshare(CLONE_NEWNET)")
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "node0", "type", "bridge")
    run("ip", "addr", "add", f"{ADDRESS}/24", "dev", "node0")
    run("ip", "link", "set", "node0", "up")
    run("ip", "route", "add", "default", "dev", "node0")
    run("sysctl", "-qw", "net.ipv4.ip_forward=1")


def route_service(port: int) -> None:
    """Where a cluster has kube-proxy: the API's service address leads to the API server."""
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
