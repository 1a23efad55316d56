"""Finds the volumes of this driver that are still mounted after a restart."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from driver.volume import content, layout, mountinfo, mounts, record, walk
from driver.volume.failures import os_errors_as
from driver.volume.target import Target
from runtime import logs
from runtime.errors import Failure, InvalidRequest

log = logs.get(__name__)

# Kubelet writes this file beside each CSI target path.
VOLUME_DATA = "vol_data.json"


class FoundVolume(NamedTuple):
    """A volume that was mounted before this process started.

    ``last_refresh`` is None if it is not committed: a provider wrote files into it itself, and nobody committed them.
    ``details`` are those of its record; None if it has no record, as the Go driver's volumes have none. They are
    ``current`` if they describe the content that is there now.
    """

    target: Target
    last_refresh: float | None
    details: Mapping[str, Any] | None = None
    current: bool = False


def volumes(pods_dir: str, driver_name: str = "") -> list[FoundVolume]:
    """The volumes below ``pods_dir`` that have content.

    An empty ``pods_dir`` means all pods directories, an empty ``driver_name`` all drivers.
    """
    found = []
    for target in mounted_targets(pods_dir, driver_name):
        try:
            volume = find(target)
        except Failure as failure:  # one volume that cannot be read must not keep the driver from starting
            log.warning("A volume cannot be restored until its next publish", target=target.path, err=failure)
            continue
        if volume is not None:
            found.append(volume)
    return found


def find(target: Target) -> FoundVolume | None:
    """The volume at a target path; None if no tmpfs is mounted there or it has no content. Raises Internal."""
    with os_errors_as(f"failed to read target path {target.path}"):
        try:
            with walk.directory(target.path, walk.READ) as opened:
                mounted = mounts.mount_on(opened)
                if mounted is None or not mounted.tmpfs:
                    return None
                return _with_content(target, opened.fd)
        except FileNotFoundError:
            return None


def _with_content(target: Target, root: int) -> FoundVolume | None:
    last_refresh, found = content.last_refresh(root), record.read(root)
    if last_refresh is None and not layout.foreign_entries(root):
        return None
    if found is None:
        return FoundVolume(target, last_refresh)
    return FoundVolume(target, last_refresh, found.details, record.is_up_to_date(root, found))


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
    except (OSError, RecursionError, ValueError):
        return ""
    return str(data.get("driverName", "")) if isinstance(data, dict) else ""
