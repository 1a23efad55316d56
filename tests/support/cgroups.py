"""Memory cgroups, to see what the kernel does at a container's limit."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")


class MemoryCgroup:
    """A cgroup of either version, with a limit of memory."""

    def __init__(self, directory: Path, unified: bool) -> None:
        self.directory = directory
        self._unified = unified

    def add(self, pid: int) -> None:
        """Move a process into it; its children are born there."""
        (self.directory / "cgroup.procs").write_text(str(pid))

    def set_limit(self, size: int) -> None:
        """The most bytes of memory."""
        (self.directory / ("memory.max" if self._unified else "memory.limit_in_bytes")).write_text(str(size))

    @property
    def peak(self) -> int | None:
        """The most bytes that were ever used; None if the kernel does not say."""
        path = self.directory / ("memory.peak" if self._unified else "memory.max_usage_in_bytes")
        return int(path.read_text()) if path.exists() else None

    @property
    def kills(self) -> int:
        """How many of its processes the kernel has killed for lack of memory."""
        path = self.directory / ("memory.events" if self._unified else "memory.oom_control")
        counts = dict(line.split() for line in path.read_text().splitlines())
        return int(counts.get("oom_kill", 0))


@contextmanager
def memory_cgroup(limit: int) -> Iterator[MemoryCgroup]:
    """A cgroup for the length of the block, which must leave no process in it. The test is skipped with a line where
    none can be made."""
    unified = (ROOT / "cgroup.controllers").exists()
    directory = (ROOT if unified else ROOT / "memory") / f"secrets-store-test-{os.getpid()}"
    made = MemoryCgroup(directory, unified)
    try:
        directory.mkdir()
        made.set_limit(limit)
    except OSError as error:
        if directory.exists():
            directory.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        yield made
    finally:
        directory.rmdir()
