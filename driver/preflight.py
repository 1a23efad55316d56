"""Checks once, at the start, that the container has the mounts and privileges that it needs.

A person must add what is missing. Failing at once, with a message that says what to do, beats failing at the first pod.
"""

import os
import tempfile
from contextlib import suppress

from driver.config import DriverConfig
from driver.objects.pod_status import check_node
from driver.volume import mountinfo, mounts
from runtime.endpoints import UnixEndpoint
from runtime.errors import ConfigurationError, Failure


def check(config: DriverConfig, registration_directory: str) -> None:
    """Raise ConfigurationError for the first thing that is missing."""
    if not config.manifests:
        check_node(config.nodeid)
    endpoint = config.listen
    if isinstance(endpoint, UnixEndpoint):
        _check_directory(os.path.dirname(endpoint.path), "the directory of --endpoint", "plugins/csi-secrets-store")
    _check_directory(registration_directory, "--plugin-registration-path", "plugins_registry")
    # Before the check of the propagation: Bidirectional, which that one advises, is not permitted without privileges.
    _check_mounting()
    if config.kubelet_pods_dir:
        _check_pods(config.kubelet_pods_dir)


def _check_directory(path: str, flag: str, host_path: str) -> None:
    if not os.path.isdir(path):
        raise ConfigurationError(
            f"{flag}: {path} does not exist: mount kubelet's {host_path} there as a hostPath volume"
        )
    if not os.access(path, os.W_OK):
        raise ConfigurationError(f"{flag}: {path} is read-only: mount kubelet's {host_path} there without readOnly")


def _check_pods(path: str) -> None:
    _check_directory(path, "--kubelet-pods-dir", "pods directory")
    # In a container a hostPath volume is a mount point. Outside one the directory is not, and need not propagate.
    if mounts.is_mounted(path) and not mountinfo.is_shared(path):
        raise ConfigurationError(
            f"mounts below {path} do not reach the node: give its volumeMount mountPropagation: Bidirectional"
        )


def _check_mounting() -> None:
    try:
        directory = tempfile.mkdtemp(prefix="preflight-")
    except OSError:
        raise ConfigurationError(
            "no temporary file can be written: mount an emptyDir volume with medium Memory at /tmp"
        ) from None
    try:
        mounts.mount_tmpfs(directory, size=4096, noswap=False)
        mounts.unmount_all(directory)
    except Failure as failure:
        raise ConfigurationError(
            f"the container may not mount a tmpfs: run it with securityContext.privileged: true ({failure})"
        ) from None
    finally:
        with suppress(OSError):
            os.rmdir(directory)
