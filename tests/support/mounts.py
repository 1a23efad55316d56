"""What is mounted, seen in the mount table, and how to leave nothing mounted."""

from pathlib import Path

from driver.volume import mountinfo, mounts


def mount_points(directory: Path) -> list[str]:
    """Every mount point at or below a directory, oldest mount first; one with stacked mounts is listed repeatedly."""
    paths = [entry.path for entry in mountinfo.read()]
    return [path for path in paths if Path(path).is_relative_to(directory)]


def unmount_below(directory: Path) -> None:
    """Unmount everything at or below a directory, the youngest mount first."""
    for path in reversed(mount_points(directory)):
        mounts.unmount(path)
