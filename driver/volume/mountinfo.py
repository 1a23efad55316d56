"""The kernel's mount table, ``/proc/self/mountinfo``; the format is described in proc_pid_mountinfo(5)."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(rb"\\([0-7]{3})")


class Entry(NamedTuple):
    """One mount.

    ``root`` is the directory of the file system that is visible at ``path``; ``/`` is the whole file system.
    ``options`` belong to the mount, ``fs_options`` to the file system. A ``shared`` mount propagates what is mounted
    below it to its peers, for example from a container to its node.
    """

    mount_id: str
    root: str
    path: str
    options: tuple[str, ...]
    shared: bool
    fs_type: str
    fs_options: tuple[str, ...]


def read() -> list[Entry]:
    """The mount table of this process, oldest mount first; mounts stacked on one path are several entries."""
    return list(parse(MOUNTINFO.read_bytes()))


def parse(table: bytes) -> Iterator[Entry]:
    """The entries of a mount table; malformed lines are skipped."""
    for line in table.splitlines():
        # mount-id parent-id major:minor root path options [optional fields ...] - fs-type source fs-options
        mount, separator, file_system = line.partition(b" - ")
        fields, fs_fields = mount.split(b" "), file_system.split(b" ")
        if separator and len(fields) >= 6 and len(fs_fields) >= 3:
            yield Entry(
                mount_id=_decode(fields[0]),
                root=_decode(fields[3]),
                path=_decode(fields[4]),
                options=tuple(_decode(fields[5]).split(",")),
                shared=any(field.startswith(b"shared:") for field in fields[6:]),
                fs_type=_decode(fs_fields[0]),
                fs_options=tuple(_decode(fs_fields[2]).split(",")),
            )


def is_shared(path: str) -> bool:
    """Whether mounts made below ``path`` propagate, that is, whether the mount that holds ``path`` is shared."""
    holding = [entry for entry in read() if path == entry.path or path.startswith(entry.path.rstrip("/") + "/")]
    if not holding:
        return False
    # The innermost mount has the longest path; of mounts stacked on one path the youngest is on top.
    return max(reversed(holding), key=lambda entry: len(entry.path)).shared


def _decode(field: bytes) -> str:
    """The kernel escapes space, tab, newline and backslash in octal."""
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field))
