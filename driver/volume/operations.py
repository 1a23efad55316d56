"""What a publish does to a target path: inspect it, mount a tmpfs, commit a payload, clean up after a failure.

What counts as a volume
-----------------------

Kubelet gives a CSI driver the path of a directory, the target path, and asks it to make the volume's files appear
there (NodePublishVolume). It asks again after a failure, after a restart of either side, and, where the driver wants
that, about once a minute for as long as the pod lives. So each call must first find out whether the volume is there
already. It is if, and only if, both of these hold now:

- *mounted*: a tmpfs is mounted on exactly the target path;
- *committed*: in that tmpfs ``..data`` points to a directory, which the atomic writer makes so in its last step, when
  all files are written.

Nothing else is evidence. A directory at the target path is not: kubelet creates it, a failed publish leaves it behind,
and files in it would lie on the node's disk. Neither is its age, nor what this process remembers. To believe any of
them means to answer OK to a publish that only repeats a failed one, and the pod starts with an empty volume.
"""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from driver.volume import content, layout, mounts, record, remove, walk, writer
from driver.volume.failures import os_errors_as
from driver.volume.payload import Tree
from runtime import logs
from runtime.errors import Aborted, Failure

log = logs.get(__name__)

# The mode that kubelet gives the directories of a volume.
_DIRECTORY_MODE = 0o750


class Found(NamedTuple):
    """What is at a target path.

    ``mounted`` is a tmpfs, ``foreign_mount`` any other file system. ``foreign_entries`` are files in the tmpfs that a
    provider wrote itself. ``last_refresh`` is the Unix time of the last successful refresh, and ``content`` the name
    of the content directory; only a committed volume has them.
    """

    mounted: bool = False
    foreign_mount: bool = False
    foreign_entries: bool = False
    last_refresh: float | None = None
    content: str = ""

    @property
    def committed(self) -> bool:
        """Whether the volume is mounted and holds a complete payload."""
        return self.last_refresh is not None


def inspect(path: str) -> Found:
    """What is at the target path; changes nothing. Raises Internal if that cannot be found out."""
    with os_errors_as(f"failed to check if target path {path} is mount point"):
        try:
            with walk.directory(path) as opened:
                mounted = mounts.mount_on(opened)
                if mounted is None:
                    return Found()
                if not mounted.tmpfs:
                    return Found(foreign_mount=True)
                return _inspect_content(opened.fd)
        except FileNotFoundError:
            return Found()


def prepare(
    path: str,
    size: int | None,
    noswap: bool,
    details: Mapping[str, Any],
    inodes: int | None = None,
    noexec: bool = True,
) -> None:
    """Create the target directory, mount an empty tmpfs of ``size`` bytes and ``inodes`` on it, and write the volume's
    first record (``driver.volume.record``)."""
    with os_errors_as(f"failed to create target path {path}"):
        walk.make_directories(path, _DIRECTORY_MODE)
    mounts.mount_tmpfs(path, size=size, noswap=noswap, inodes=inodes, noexec=noexec)
    with os_errors_as(f"failed to write the record of target path {path}"), walk.directory(path, walk.READ) as opened:
        record.write(opened.fd, record.Record(mounted=True, details=details))


def commit(
    path: str, payload: Tree, group: int | None, details: Mapping[str, Any], fetched: float | None = None
) -> bool:
    """Write the payload, set the time of the last refresh, and write the record; returns whether the content changed.
    That time is now, or the Unix time at which older content was ``fetched``.

    ``group`` is the group id that is to own the files; None leaves them to the driver's own group. Secrets must not
    reach a disk, so the mount is checked on the same open directory that is then written to. Raises
    Aborted if there is no tmpfs.
    """
    with os_errors_as(f"failed to write files to target path {path}"):
        try:
            with walk.directory(path, walk.READ) as opened:
                mounted = mounts.mount_on(opened)
                if mounted is None or not mounted.tmpfs:
                    raise Aborted(f"target path {path} is no longer a mounted tmpfs; nothing was written")
                if group is not None:
                    os.fchown(opened.fd, -1, group)
                changed = writer.write(opened.fd, payload, os.getegid() if group is None else group)
                content.set_last_refresh(opened.fd, fetched)
                _update_record(path, opened.fd, details)
                return changed
        except FileNotFoundError:
            raise Aborted(f"target path {path} is gone; nothing was written") from None


def write_record(path: str, details: Mapping[str, Any]) -> None:
    """Write what is known of a mounted volume to its record; a volume that is gone has none. A failure is logged: the
    volume is in order without it, but after a restart less is known of it."""
    try:
        with walk.directory(path, walk.READ) as opened:
            mounted = mounts.mount_on(opened)
            if mounted is not None and mounted.tmpfs:
                _update_record(path, opened.fd, details)
    except FileNotFoundError:
        pass
    except (OSError, Failure) as error:
        log.warning("The record of a volume could not be written", target=path, err=error)


def clear_uncommitted(path: str) -> str:
    """Unmount whatever a failed publish left, unless it is a committed volume or holds a provider's own files. Of
    mounts that are stacked there each is looked at.

    Returns why something stays mounted; an empty string if nothing does.
    """
    try:
        while (found := inspect(path)).mounted or found.foreign_mount:
            if found.committed:
                return f"target path {path} keeps its content, which the next publish records"
            if found.foreign_mount:
                return f"target path {path} stays as it is: a file system that is not a tmpfs is mounted there"
            if found.foreign_entries:
                return f"target path {path} stays mounted: it holds files that a provider wrote itself"
            mounts.unmount(path)
        remove.ensure_unmounted(path)
    except Failure as failure:
        return str(failure)
    return ""


def _update_record(path: str, root: int, details: Mapping[str, Any]) -> None:
    try:
        record.update(root, details)
    except (OSError, record.TooLarge) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        log.warning("The record of a volume could not be written", target=path, err=reason)


def _inspect_content(handle: int) -> Found:
    root = os.open(".", walk.READ, dir_fd=handle)
    try:
        return Found(
            mounted=True,
            foreign_entries=bool(layout.foreign_entries(root)),
            last_refresh=content.last_refresh(root),
            content=layout.read_link(root, layout.DATA) or "",
        )
    finally:
        os.close(root)
