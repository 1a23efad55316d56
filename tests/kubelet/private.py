"""What keeps a node off the machine: directories of its own over the machine's, and one node at a time.

Two kubelets on one machine end each other's pods, because a kubelet ends what it finds in the pods' cgroups and does
not know.
"""

import ctypes
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from driver.volume import mountinfo

_MS_BIND, _MS_REC, _MS_SHARED = 4096, 0x4000, 1 << 20
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)
_CGROUPS = Path("/sys/fs/cgroup")


class Busy(Exception):
    """Another run has the machine."""


@contextmanager
def alone() -> Iterator[None]:
    """Hold the machine for the length of the block; the kernel lets go of it however the run ends."""
    with open(Path(tempfile.gettempdir()) / "secrets-store-csi-node.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("another run of tests/kubelet is on this machine: wait until it has ended") from None
        yield


@contextmanager
def directories(home: Path, paths: tuple[Path, ...]) -> Iterator[None]:
    """In this mount namespace each of ``paths`` is an empty directory below ``home``; the machine keeps its own."""
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
    """Mounts made below in a container's namespace appear here, as Bidirectional wants."""
    _check(_libc.mount(None, os.fsencode(path), None, _MS_REC | _MS_SHARED, None), path)


def mount_points(*below: Path) -> list[Path]:
    """Where something is mounted below these, the latest first."""
    points = [Path(entry.path) for entry in reversed(mountinfo.read())]
    return [point for point in points if any(parent in below for parent in point.parents)]


def unmount(path: Path) -> None:
    """Detach what is mounted there, if anything is."""
    _libc.umount2(os.fsencode(path), _MNT_DETACH)


def remove_cgroups() -> None:
    """Those of the pods, as far as nobody lives in them any more."""
    for root in [*_CGROUPS.glob("kubepods"), *_CGROUPS.glob("*/kubepods")]:
        for folder, _, _ in os.walk(root, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)


def _make(path: Path) -> list[Path]:
    """Make a directory; those of its parents that were not there, outermost first."""
    missing = [each for each in (path, *path.parents) if not each.exists()][::-1]
    path.mkdir(parents=True, exist_ok=True)
    return missing


def _mount(source: Path, target: Path) -> None:
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND, None), target)


def _check(result: int, path: Path) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
