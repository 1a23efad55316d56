"""A node's directories below one directory, and the container that works there: all roles, without a cluster."""

import socket
from pathlib import Path

DIRECTORIES = ("kubelet/pods", "kubelet/plugins_registry", "csi", "providers", "manifests", "status")
ROTATION_INTERVAL = 1.0


def container_flags(directory: Path, node: str, probe_port: int) -> list[str]:
    """The flags of a container that reads classes in ``manifests``, has volumes refreshed every ROTATION_INTERVAL
    seconds, and serves health at 127.0.0.1."""
    return [
        f"--endpoint=unix://{directory}/csi/csi.sock",
        f"--nodeid={node}",
        f"--manifests={directory}/manifests",
        f"--provider-volume={directory}/providers",
        "--additional-provider-volume-paths=",
        f"--kubelet-pods-dir={directory}/kubelet/pods",
        "--metrics-addr=",
        "--enable-secret-rotation",
        f"--rotation-poll-interval={ROTATION_INTERVAL:g}s",
        f"--status-directory={directory}/status",
        f"--kubelet-registration-path={directory}/csi/csi.sock",
        f"--plugin-registration-path={directory}/kubelet/plugins_registry",
        f"--probe-http-endpoint=127.0.0.1:{probe_port}",
        "--status-endpoint=",
    ]


def free_port() -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
