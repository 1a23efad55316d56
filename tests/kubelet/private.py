"""What isolates a node from the machine: private directories in place of the machine's, and one node at a time.

Two kubelets on one machine kill each other's pods, because a kubelet ends unknown processes in the pods' cgroups.
"""

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from driver.volume import mountinfo

_MS_BIND, _MS_REC, _MS_SHARED = 4096, 0x4000, 1 << 20
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)
_CGROUPS = Path("/sys/fs/cgroup")


class Busy(Exception):
    """Another run has a node on this machine."""


@contextmanager
def alone() -> Iterator[None]:
    """Hold the machine's only right to run a node for the length of the block.

    The lock is an abstract socket: it leaves no file, and the kernel releases it however the run ends.
    """
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind("\0secrets-store-csi-node")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise Busy("tests/kubelet already runs on this machine: wait until it has ended") from None
        yield


@contextmanager
def directories(home: Path, paths: tuple[Path, ...]) -> Iterator[None]:
    """Mount an empty directory below ``home`` at each of ``paths``, in this mount namespace only."""
    made: list[Path] = []
    try:
        for number, path in enumerate(paths):
            made += _make(path)
            own = home / f"{number}-{path.name}"
            own.mkdir(parents=True)
            _mount(own, path)
        yield
    finally:
        for path in reversed(paths):
            unmount(path)
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir()


def share(path: Path) -> None:
    """Make a mount shared: what a container mounts below appears here, as ``mountPropagation: Bidirectional`` needs."""
    _check(_libc.mount(None, os.fsencode(path), None, _MS_REC | _MS_SHARED, None), path)


def mount_points(*below: Path) -> list[Path]:
    """The mount points below these directories, the latest first."""
    points = [Path(entry.path) for entry in reversed(mountinfo.read())]
    return [point for point in points if any(parent in below for parent in point.parents)]


def unmount(path: Path) -> None:
    """Detach what is mounted at a path, if anything."""
    _libc.umount2(os.fsencode(path), _MNT_DETACH)


def remove_cgroups() -> None:
    """Remove the pods' cgroups that have no processes any more."""
    for root in [*_CGROUPS.glob("kubepods"), *_CGROUPS.glob("*/kubepods")]:
        for folder, _, _ in os.walk(root, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)


def _make(path: Path) -> list[Path]:
    """Make a directory with its parents; returns those that were missing, outermost first."""
    missing = [each for each in (path, *path.parents) if not each.exists()][::-1]
    path.mkdir(parents=True, exist_ok=True)
    return missing


def _mount(source: Path, target: Path) -> None:
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND, None), target)


def _check(result: int, path: Path) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
