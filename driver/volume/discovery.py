"""Finds the volumes of this driver that are still mounted after a restart."""

import json
import os
from pathlib import Path

from driver.volume import mountinfo, operations, walk
from driver.volume.target import Target
from runtime.errors import InvalidRequest

# Kubelet writes this file beside each CSI target path.
VOLUME_DATA = "vol_data.json"


def committed_volumes(pods_dir: str, driver_name: str = "") -> dict[Target, float]:
    """The committed volumes below ``pods_dir`` and the Unix time of their last refresh.

    An empty ``pods_dir`` means all pods directories, an empty ``driver_name`` all drivers.
    """
    found = {}
    for target in mounted_targets(pods_dir, driver_name):
        last_refresh = operations.inspect(target.path).last_refresh
        if last_refresh is not None:
            found[target] = last_refresh
    return found


def mounted_targets(pods_dir: str, driver_name: str = "") -> list[Target]:
    """The targets on which a whole tmpfs is mounted, each once.

    A mount that shows only a part of a tmpfs is a bind mount, which other drivers make. The mount table holds resolved
    paths; if the pods directory is a symlink, the targets are returned as kubelet spells them.
    """
    resolved = os.path.realpath(pods_dir) if pods_dir else ""
    found: dict[str, Target] = {}
    for entry in mountinfo.read():
        if entry.fs_type != "tmpfs" or entry.root != "/" or not walk.is_target_path(entry.path):
            continue
        path = entry.path
        if pods_dir and path.startswith(resolved.rstrip("/") + "/"):
            path = os.path.join(pods_dir, os.path.relpath(path, resolved))
        try:
            target = Target.from_text(path, pods_dir)
        except InvalidRequest:
            continue  # outside the pods directory: it belongs to another kubelet
        if not driver_name or _recorded_driver(path) in ("", driver_name):
            found[path] = target
    return list(found.values())


def _recorded_driver(path: str) -> str:
    """The name of the driver that kubelet recorded for a target path; empty if there is no readable record."""
    try:
        data = json.loads(Path(os.path.dirname(path), VOLUME_DATA).read_text())
    except (OSError, ValueError):
        return ""
    return str(data.get("driverName", "")) if isinstance(data, dict) else ""
