"""What the tests of the volume layer share: writing a payload, and seeing a volume as a pod does."""

import os
import stat
from pathlib import Path

import pytest

from driver.volume import operations, syscalls, walk
from driver.volume.payload import File, plan

SIZE = 1024 * 1024
MS_BIND = 4096


def file(path: str, contents: bytes = b"secret", mode: int = 0o644) -> File:
    """A file of a payload."""
    return File(path, mode, contents)


def files(**contents: bytes) -> list[File]:
    """A payload of files with mode 0644; ``__`` in a name stands for ``/``."""
    return [file(name.replace("__", "/"), content) for name, content in contents.items()]


def commit(volume: Path, payload: list[File], group: int | None = None) -> bool:
    """Write a payload as a publish does."""
    return operations.commit(str(volume), plan(payload, readable_by_group=group is not None), group)


def inspect(volume: Path) -> operations.Found:
    """What a publish finds there."""
    return operations.inspect(str(volume))


def seen(volume: Path) -> dict[str, bytes]:
    """What a pod reads: every file below a name that does not begin with ``..``; a link that dangles is no file."""
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


def stamps(volume: Path) -> list[str]:
    """The content directories."""
    return sorted(name for name in os.listdir(volume) if name.startswith("..2"))


def is_tidy(volume: Path, *names: str) -> bool:
    """Whether the volume holds one payload with these first components, and nothing that a writer left."""
    current = stamps(volume)
    expected = {"..data", *current, *names}
    return len(current) == 1 and set(os.listdir(volume)) == expected and os.readlink(volume / "..data") == current[0]


def mode_of(path: Path) -> int:
    """The permission bits, of a link's target."""
    return stat.S_IMODE(path.stat().st_mode)


def bind(source: Path, place: Path) -> None:
    """A bind mount, which is no tmpfs of its own."""
    with walk.directory(str(place)) as opened:
        syscalls.mount(str(source), opened.fd, "", MS_BIND, "")


def mount_dead(place: Path) -> None:
    """A file system whose server is gone; skips the test where there is no FUSE."""
    try:
        server = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        pytest.skip("no /dev/fuse here")
    with walk.directory(str(place)) as opened:
        syscalls.mount("dead", opened.fd, "fuse", 0, f"fd={server},rootmode=40000,user_id=0,group_id=0")
    os.close(server)
