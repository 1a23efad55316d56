"""What the tests of the volume layer share: writing a payload, and reading a volume as a pod does."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from driver.volume import layout, operations
from driver.volume.payload import File, plan

SIZE = 1024 * 1024


def file(path: str, contents: bytes = b"secret", mode: int = 0o644) -> File:
    """A file of a payload."""
    return File(path, mode, contents)


def files(**contents: bytes) -> list[File]:
    """A payload of files with mode 0644; ``__`` in a name means ``/``."""
    return [file(name.replace("__", "/"), content) for name, content in contents.items()]


def commit(
    volume: Path, payload: list[File], group: int | None = None, details: Mapping[str, object] | None = None
) -> bool:
    """Write a payload as a publish does."""
    return operations.commit(str(volume), plan(payload, readable_by_group=group is not None), group, details or {})


def inspect(volume: Path) -> operations.Found:
    """What a publish finds there."""
    return operations.inspect(str(volume))


def seen(volume: Path) -> dict[str, bytes]:
    """What a pod reads: every file below a name that does not begin with ``..``, except dangling symlinks."""
    found: dict[str, bytes] = {}
    for name in os.listdir(volume):
        if name.startswith(".."):
            continue
        path = volume / name
        if path.is_file():
            found[name] = path.read_bytes()
        for below in path.rglob("*") if path.is_dir() else ():
            if below.is_file():
                found[str(below.relative_to(volume))] = below.read_bytes()
    return found


def content_names(volume: Path) -> list[str]:
    """The names of the content directories."""
    return sorted(name for name in os.listdir(volume) if name.startswith("..2"))


def forbid_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extended attributes as in a user namespace: writing one is refused, reading one finds nothing."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    def find_nothing(*_: object) -> bytes:
        raise OSError(61, "No data available")

    monkeypatch.setattr(os, "setxattr", refuse)
    monkeypatch.setattr(os, "getxattr", find_nothing)


def entries_of(volume: Path) -> set[str]:
    """The names in a volume, without its record, which is a file only where it cannot be an extended attribute."""
    return set(os.listdir(volume)) - {layout.RECORD}


def is_tidy(volume: Path, *names: str) -> bool:
    """Whether the volume holds exactly one payload with these top-level names, and no leftovers."""
    current = content_names(volume)
    expected = {"..data", *current, *names}
    return len(current) == 1 and entries_of(volume) == expected and os.readlink(volume / "..data") == current[0]


def mode_of(path: Path) -> int:
    """The permission bits of a file; symlinks are followed."""
    return stat.S_IMODE(path.stat().st_mode)
