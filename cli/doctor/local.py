"""What only the node itself shows: directories, mount propagation, swap, providers."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cli.doctor.checks import Check, State, check
from driver.providers.sockets import ProviderSockets
from driver.volume import mountinfo, mounts
from runtime.errors import Failure
from runtime.sockets import why_not_served

PROVIDER_DIRECTORIES = ("/var/run/secrets-store-csi-providers", "/etc/kubernetes/secrets-store-csi-providers")
PLUGIN_SOCKET = "plugins/csi-secrets-store/csi.sock"


def examine(kubelet: str, provider_directories: Sequence[str]) -> list[Check]:
    """All checks. Blocks, but not for long."""
    return [*_directories(kubelet), _propagation(f"{kubelet}/pods"), _swap(), *_providers(provider_directories)]


def _directories(kubelet: str) -> Iterator[Check]:
    for name in ("pods", "plugins_registry"):
        path = f"{kubelet}/{name}"
        problem = "" if os.path.isdir(path) else f"{path} is missing: is kubelet's root another one (--kubelet-dir)?"
        yield check(f"directory {name}", problem, path)
    socket = f"{kubelet}/{PLUGIN_SOCKET}"
    why = why_not_served(socket)
    yield check("driver's socket", f"{socket}: {why}: is the driver's pod running here?" if why else "", socket)


def _propagation(path: str) -> Check:
    if not os.path.isdir(path):
        return Check("mount propagation", State.UNKNOWN, f"{path} does not exist")
    if not mounts.is_mounted(path):
        return Check("mount propagation", State.OK, f"{path} is not a mount of its own")
    problem = (
        ""
        if mountinfo.is_shared(path)
        else (f"mounts below {path} do not reach the node: give its volumeMount mountPropagation: Bidirectional")
    )
    return check("mount propagation", problem, "shared")


def _swap() -> Check:
    """Secrets in a tmpfs may be swapped out where there is swap and no ``noswap``."""
    try:
        swaps = len(Path(mounts.SWAPS).read_text().splitlines()) > 1
    except OSError:
        return Check("swap", State.UNKNOWN, f"{mounts.SWAPS} cannot be read")
    if not swaps:
        return Check("swap", State.OK, "off")
    if os.geteuid() != 0:
        return Check("swap", State.UNKNOWN, "on; whether the kernel has noswap can only be tried as root")
    try:
        noswap = mounts.probe_noswap()
    except Failure as failure:
        return Check("swap", State.UNKNOWN, str(failure))
    problem = "on, and the kernel has no noswap (Linux 6.3): secrets may be swapped out; turn swap off, or encrypt it"
    return check("swap", "" if noswap else problem, "on, and volumes are mounted with noswap")


def _providers(directories: Sequence[str]) -> Iterator[Check]:
    sockets = ProviderSockets(directories)
    names = sockets.installed()
    if not names:
        yield Check("providers", State.PROBLEM, f"there is no socket in {', '.join(directories)}: install a provider")
    for name in names:
        try:
            problem = why_not_served(sockets.find(name) or "")
        except Failure as failure:
            problem = str(failure)
        yield check(f"provider {name}", problem and f"{problem}: is its pod running?", "listens")
