"""The questions and steps of the publish path, each a call or two to the parts beside this."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from driver.volume import content, layout, mountinfo, mounts, remove, walk, writer
from driver.volume.failures import told_as
from driver.volume.payload import File, plan
from driver.volume.target import Target
from runtime.errors import Aborted, Failure

# What kubelet gives the directories of a volume.
_DIRECTORY_MODE = 0o750


@dataclass(frozen=True)
class Found:
    """What is at a target: a tmpfs (``mounted``), another mount, in the tmpfs a provider's own files, a payload."""

    mounted: bool = False
    foreign_mount: bool = False
    foreign_entries: bool = False
    last_refresh: float | None = None

    @property
    def committed(self) -> bool:
        """Whether a whole payload is mounted."""
        return self.last_refresh is not None


def inspect(path: str) -> Found:
    """Look, and change nothing. Files in a directory that is no tmpfs mount are never a committed volume."""
    with told_as(f"failed to check if target path {path} is mount point"):
        try:
            with walk.directory(path) as opened:
                mounted = mounts.look(opened)
                if mounted is None:
                    return Found()
                if not mounted.tmpfs:
                    return Found(foreign_mount=True)
                return _inspect_content(opened.fd)
        except FileNotFoundError:
            return Found()


def prepare(path: str, size: int | None, noswap: bool) -> None:
    """Make the target directory and mount an empty tmpfs on it."""
    with told_as(f"failed to create target path {path}"):
        walk.make(path, _DIRECTORY_MODE)
    mounts.mount_tmpfs(path, size=size, noswap=noswap)


def commit(path: str, files: Sequence[File], group: int | None) -> bool:
    """Write the payload and set the time of its last refresh; tells whether the content changed.

    Only ever into a mounted tmpfs, checked on the very directory that is written to: nothing may reach a disk.
    """
    tree = plan(files, readable_by_group=group is not None)
    with told_as(f"failed to write files to target path {path}"):
        try:
            with walk.directory(path, walk.READ) as opened:
                mounted = mounts.look(opened)
                if mounted is None or not mounted.tmpfs:
                    raise Aborted(f"target path {path} is no longer a mounted tmpfs; nothing was written")
                if group is not None:
                    os.fchown(opened.fd, -1, group)
                changed = writer.write(opened.fd, tree, os.getegid() if group is None else group)
                content.set_last_refresh(opened.fd)
                return changed
        except FileNotFoundError:
            raise Aborted(f"target path {path} is gone; nothing was written") from None


def clear_uncommitted(path: str) -> str:
    """After a failed publish: leave nothing mounted, unless there is a payload or a provider's own files.

    Returns why something had to stay mounted; empty if nothing is.
    """
    try:
        found = inspect(path)
        if found.committed:
            return f"target path {path} keeps its content, which the next publish records"
        if found.foreign_mount:
            return f"target path {path} stays as it is: a file system that is not a tmpfs is mounted there"
        if found.foreign_entries:
            return f"target path {path} stays mounted: it holds files that a provider wrote itself"
        remove.ensure_unmounted(path)
    except Failure as failure:
        return str(failure)
    return ""


def committed_targets(pods_dir: str, driver_name: str = "") -> list[Target]:
    """The volumes of this node, from the mount table (``mountinfo.list_volumes``)."""
    targets = mountinfo.list_volumes(pods_dir or None, driver_name)
    return [target for target in targets if inspect(target.path).committed]


def _inspect_content(handle: int) -> Found:
    root = os.open(".", walk.READ, dir_fd=handle)
    try:
        return Found(
            mounted=True, foreign_entries=bool(layout.foreign(root)), last_refresh=content.last_refresh_of(root)
        )
    finally:
        os.close(root)
