"""Leaves nothing mounted behind."""

from pathlib import Path

from driver.volume import mountinfo, mounts


def unmount_below(directory: Path) -> None:
    """Unmount everything at or below a directory, the youngest mount first."""
    for path in reversed(mountinfo.mount_points(str(directory))):
        mounts.unmount(path)
