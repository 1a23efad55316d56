"""From a path to open directories without following a symlink.

Down to kubelet's pods directory the path is the node's owner's business and may hold symlinks. Below it each component
is opened relative to the one above with O_NOFOLLOW, so that what is swapped underneath later cannot lead us elsewhere.
A path without kubelet's shape (a private directory of our own) gets this care for its last component.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from driver.volume import syscalls
from runtime.errors import InvalidRequest

PODS, VOLUMES, PLUGIN, MOUNT = "pods", "volumes", "kubernetes.io~csi", "mount"
# pods/<uid>/volumes/kubernetes.io~csi/<name>/mount
_SHAPE_LENGTH = 6

HANDLE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ROOT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True)
class Opened:
    """A directory and the one above it, both open."""

    parent: int
    fd: int

    @property
    def is_mount(self) -> bool:
        """Whether something is mounted exactly here."""
        return syscalls.mount_id(self.fd) != syscalls.mount_id(self.parent)


def has_shape(path: str) -> bool:
    """Whether the path ends as kubelet's target paths do."""
    pods, uid, volumes, plugin, name, mount = ([""] * _SHAPE_LENGTH + path.split("/"))[-_SHAPE_LENGTH:]
    return (pods, volumes, plugin, mount) == (PODS, VOLUMES, PLUGIN, MOUNT) and bool(uid and name)


def split(path: str) -> tuple[str, list[str]]:
    """The part of an absolute path that may hold symlinks, and the components that may not."""
    parts = path.split("/")
    careful = _SHAPE_LENGTH - 1 if has_shape(path) else 1
    return "/".join(parts[:-careful]) or "/", parts[-careful:]


@contextmanager
def parent_of(path: str) -> Iterator[tuple[int, str]]:
    """The directory above ``path``, open, and the last component's name. Raises FileNotFoundError."""
    root, names = split(path)
    fd = descend(root, names[:-1], path)
    try:
        yield fd, names[-1]
    finally:
        os.close(fd)


@contextmanager
def directory(path: str, flags: int = HANDLE) -> Iterator[Opened]:
    """The directory ``path`` and the one above it. Raises FileNotFoundError; InvalidRequest for no directory."""
    with parent_of(path) as (parent, name):
        fd = enter(parent, name, path, flags)
        try:
            yield Opened(parent, fd)
        finally:
            os.close(fd)


def make(path: str, mode: int) -> None:
    """Make the directory and those above it that are missing, without following a symlink."""
    root, names = split(path)
    fd = _open_root(root, path)
    try:
        for name in names:
            try:  # noqa: SIM105
                os.mkdir(name, mode, dir_fd=fd)
            except FileExistsError:
                pass
            fd = _step(fd, name, path)
    finally:
        os.close(fd)


def descend(root: str, names: Sequence[str], path: str) -> int:
    """Open ``root``, then go down; the caller closes what is returned."""
    fd = _open_root(root, path)
    try:
        for name in names:
            fd = _step(fd, name, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def enter(parent: int, name: str, path: str, flags: int = HANDLE) -> int:
    """Open one directory below another; ``path`` is the whole, for the sentence."""
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        is_link = stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
        what = "a symlink, which is never followed" if is_link else "not a directory"
        raise InvalidRequest(f"target path {path}: {name} is {what}; remove it on the node") from None


def _open_root(root: str, path: str) -> int:
    try:
        return os.open(root, _ROOT)
    except NotADirectoryError:
        raise InvalidRequest(f"target path {path}: {root} is not a directory") from None


def _step(fd: int, name: str, path: str) -> int:
    """From one open directory to one below it; the upper one is closed only when the lower one is open."""
    below = enter(fd, name, path)
    os.close(fd)
    return below
