"""Keeps the volumes from using up the container's memory: the pages of a tmpfs are charged to the memory cgroup of the
process that writes them, so that the kernel would kill the driver for what a provider has sent."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from driver import limits
from driver.volume import mounts
from driver.volume.payload import Leaf, Tree
from runtime.errors import ResourceExhausted

CGROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# memory.stat has some 4 KiB.
_FILE_BYTES = 64 * 1024
# Without a limit, cgroup v1 has the largest number of pages that it can count.
_UNLIMITED = 2**60


class _Files(NamedTuple):
    limit: str
    usage: str
    prefix: str


_UNIFIED = _Files("memory.max", "memory.current", "")
_LEGACY = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")


class Room(NamedTuple):
    """How much memory a cgroup may use, and what it uses without page cache, which the kernel can drop, in bytes."""

    limit: int
    used: int


class MemoryBudget:
    """Refuses what would leave less than ``headroom`` bytes below the limit of the container's memory; -1 means a tenth
    of the limit, 0 that nothing is refused. Used by several threads."""

    def __init__(self, headroom: int) -> None:
        self._headroom = headroom
        self._reserved = 0
        self._lock = threading.Lock()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Reserve ``size`` bytes while they are written; afterwards the kernel counts them.

        Raises ResourceExhausted.
        """
        with self._lock:
            self._check(size)
            self._reserved += size
        try:
            yield
        finally:
            with self._lock:
                self._reserved -= size

    def _check(self, size: int) -> None:
        for room in rooms() if self._headroom else ():
            headroom = self._headroom
            if headroom < 0:
                headroom = max(limits.MIN_MEMORY_HEADROOM, room.limit // limits.MEMORY_HEADROOM_PART)
            left = room.limit - room.used - self._reserved - headroom
            if size > left:
                raise ResourceExhausted(
                    f"{size} bytes do not fit into the memory of the driver's container, to which the volumes of the "
                    f"node are charged: {room.used + self._reserved} of {room.limit} bytes are used, and {headroom} "
                    "are kept free (--memory-headroom); raise its memory limit"
                )


def size_of(tree: Tree) -> int:
    """The memory that a payload takes: each file has whole pages."""
    return sum(
        -(-len(node.contents) // _PAGE) * _PAGE if isinstance(node, Leaf) else size_of(node) for node in tree.values()
    )


def may_be_swapped() -> bool:
    """Whether this process's memory may reach a disk: the node has swap, and no cgroup keeps this process out of it, as
    kubelet's do by default (https://kubernetes.io/docs/concepts/cluster-administration/swap-memory-management/)."""
    if not mounts.swap_is_on():
        return False
    with suppress(OSError, ValueError):
        path = next(line.split(":", 2)[2] for line in OWN.read_text().splitlines() if line.startswith("0::"))
        own = CGROUPS / path.lstrip("/")
        for directory in (own, *own.parents):
            if directory.is_relative_to(CGROUPS) and _no_swap(directory):
                return False
    return True


def _no_swap(directory: Path) -> bool:
    try:
        return (directory / "memory.swap.max").read_text().strip() == "0"
    except OSError:  # the root has no such file, nor has a directory that another mount hides
        return False


def rooms() -> list[Room]:
    """The memory cgroups with a limit that this process is in, the innermost first; none if they cannot be read."""
    found: list[Room] = []
    with suppress(OSError, ValueError):
        for line in _read(str(OWN)).splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                found += _rooms(str(CGROUPS), path, _UNIFIED)
            elif "memory" in controllers.split(","):
                found += _rooms(f"{CGROUPS}/memory", path, _LEGACY)
    return found


def _rooms(root: str, path: str, files: _Files) -> Iterator[Room]:
    """Those of a cgroup and of the ones above it. In a container its own is mounted as the root, whatever its path."""
    directory = os.path.normpath(f"{root}/{path}")
    if not os.path.exists(f"{directory}/{files.usage}") or not directory.startswith(root):
        directory = root
    while directory.startswith(root):
        with suppress(OSError, ValueError):  # the root has no limit, and "max" is none
            limit = int(_read(f"{directory}/{files.limit}"))
            if limit < _UNLIMITED:
                yield Room(limit, _used(directory, files))
        directory = os.path.dirname(directory)


def _used(directory: str, files: _Files) -> int:
    statistics = _read(f"{directory}/memory.stat")
    cache = sum(_statistic(statistics, f"{files.prefix}{name}") for name in ("inactive_file", "active_file"))
    return max(0, int(_read(f"{directory}/{files.usage}")) - cache)


def _statistic(statistics: str, name: str) -> int:
    """One number of memory.stat, which has a name and a number in each line; 0 if it is not there."""
    _, found, rest = f"\n{statistics}".partition(f"\n{name} ")
    return int(rest.partition("\n")[0]) if found else 0


def _read(path: str) -> str:
    """A file of the kernel's, without what ``open`` adds: several are read with each publish."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _FILE_BYTES).decode()
    finally:
        os.close(fd)
