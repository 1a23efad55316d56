"""Measures how much of a volume is in use."""

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from driver.volume import mounts, walk
from driver.volume.failures import os_errors_as
from runtime.errors import Failure


class Usage(NamedTuple):
    """How much of a volume's bytes and inodes is in use."""

    bytes_total: int
    bytes_used: int
    bytes_available: int
    inodes_total: int
    inodes_used: int
    inodes_available: int


def measure(path: str) -> Usage | None:
    """The usage of the tmpfs at ``path``; None if no tmpfs is mounted there."""
    with os_errors_as(f"failed to measure target path {path}"):
        try:
            with walk.directory(path) as opened:
                mounted = mounts.mount_on(opened)
                if mounted is None or not mounted.tmpfs:
                    return None
                info = os.statvfs(opened.fd)
        except FileNotFoundError:
            return None
    block = info.f_frsize
    return Usage(
        bytes_total=info.f_blocks * block,
        bytes_used=(info.f_blocks - info.f_bfree) * block,
        bytes_available=info.f_bavail * block,
        inodes_total=info.f_files,
        inodes_used=info.f_files - info.f_ffree,
        inodes_available=info.f_favail,
    )


def total_bytes(paths: Iterable[str]) -> int:
    """How many bytes the volumes at these target paths take; one that cannot be measured counts as none."""
    total = 0
    for path in paths:
        with suppress(Failure):
            usage = measure(path)
            total += usage.bytes_used if usage is not None else 0
    return total
