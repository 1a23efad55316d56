"""The kernel's mount table: which volumes are there after a restart."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from driver.volume import walk
from driver.volume.target import Target
from runtime.errors import InvalidRequest

MOUNTINFO = Path("/proc/self/mountinfo")
# Kubelet's note beside each CSI target.
VOLUME_DATA = "vol_data.json"
_ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True)
class Row:
    """One mount; ``root`` is the part of the file system that is seen at ``path``: ``/`` is all of it."""

    root: str
    path: str
    fs_type: str


def rows(text: bytes | None = None) -> Iterator[Row]:
    """The mount table, oldest mount first; stacked mounts are several rows."""
    for line in (MOUNTINFO.read_bytes() if text is None else text).splitlines():
        # id parent major:minor root path options [optional fields] - type source super-options
        before, separator, after = line.partition(b" - ")
        fields = before.split(b" ")
        if separator and len(fields) >= 6:
            yield Row(_unescape(fields[3]), _unescape(fields[4]), _unescape(after.split(b" ", 1)[0]))


def list_volumes(pods_dir: str | None, driver_name: str = "") -> list[Target]:
    """The targets on which a tmpfs is mounted, each once.

    Left out are parts of another tmpfs (other drivers bind-mount such) and, with ``driver_name``, what kubelet noted as
    another driver's. The table has real paths; where the pods directory is a symlink the targets are named as kubelet
    names them.
    """
    real = os.path.realpath(pods_dir) if pods_dir else ""
    found: dict[str, Target] = {}
    for row in rows():
        if row.fs_type != "tmpfs" or row.root != "/" or not walk.has_shape(row.path):
            continue
        path = row.path
        if pods_dir and path.startswith(real.rstrip("/") + "/"):
            path = os.path.join(pods_dir, os.path.relpath(path, real))
        try:
            target = Target.from_text(path, pods_dir)
        except InvalidRequest:
            continue  # not below the pods directory: another kubelet's
        if not driver_name or _noted_driver(path) in ("", driver_name):
            found[path] = target
    return list(found.values())


def _noted_driver(path: str) -> str:
    """The driver that kubelet noted for a target; empty where there is no readable note."""
    try:
        note = json.loads(Path(os.path.dirname(path), VOLUME_DATA).read_text())
    except (OSError, ValueError):
        return ""
    return str(note.get("driverName", "")) if isinstance(note, dict) else ""


def _unescape(field: bytes) -> str:
    """The kernel writes space, tab, newline and backslash as octal."""
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field))
