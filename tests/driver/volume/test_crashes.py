"""The writer is killed at each of its system calls in turn: a pod sees the old payload or the new one, and the next
write cleans up."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from driver.volume import mounts, record
from driver.volume.payload import File
from tests.driver.volume.interrupted import killed
from tests.driver.volume.support import commit, file, files, forbid_attributes, inspect, is_tidy, seen

OLD, NEW = {"details": "old"}, {"details": "new"}


def recorded(volume: Path) -> tuple[object, bool]:
    """The details in the record, and whether they describe the content."""
    root = os.open(volume, os.O_RDONLY | os.O_DIRECTORY)
    try:
        found = record.read(root)
        assert found is not None
        return found.details, record.is_up_to_date(root, found)
    finally:
        os.close(root)


def commit_as(kind: str, volume: Path, payload: list[File]) -> None:
    """Write in another process, where nothing is patched yet."""
    with pytest.MonkeyPatch.context() as patch:
        take_directories_for_volumes(patch, kind)
        commit(volume, payload, details=NEW)


def killed_everywhere(kind: str, make: Callable[[], Path], payload: list[File], check: Callable[[Path], None]) -> int:
    """Kill at the first call, the second and so on, each in a fresh volume; returns how many calls a write takes."""
    for calls in range(1000):
        volume = make()
        died = killed(partial(commit_as, kind, volume, payload), calls)
        check(volume)
        commit(volume, payload, details=NEW)
        assert seen(volume) == {item.path: item.contents for item in payload}
        assert recorded(volume) == (NEW, True)
        assert is_tidy(volume, *{item.path.split("/")[0] for item in payload})
        if not died:
            return calls
    raise AssertionError("the writer never came to its end")


@pytest.fixture
def fresh(volume: Path) -> Callable[[list[File]], Path]:
    """Creates directories in one tmpfs that the writer takes for volumes, each with a payload and an old record."""
    made = 0

    def make(payload: list[File]) -> Path:
        nonlocal made
        made += 1
        directory = volume / f"v{made}"
        directory.mkdir()
        if payload:
            commit(directory, payload, details=OLD)
        return directory

    return make


def take_directories_for_volumes(patch: pytest.MonkeyPatch, kind: str) -> None:
    """A mount for each of hundreds of writes would be slow; that only mounts are written to is tested elsewhere. The
    record is an extended attribute, or a file, according to ``kind``."""
    if kind == "file":
        forbid_attributes(patch)
    patch.setattr("driver.volume.mounts.mount_on", lambda opened: mounts.Mounted(tmpfs=True))


@pytest.fixture(autouse=True, params=["attribute", "file"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Directories are volumes, with either kind of record; returns the kind."""
    take_directories_for_volumes(monkeypatch, request.param)
    return str(request.param)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (files(a=b"1", b=b"2"), files(a=b"X", b=b"Y")),
        (files(a=b"1", gone=b"2"), files(a=b"1", come=b"3", d__e=b"4")),
        (files(d__a=b"1"), files(d=b"1")),
        ([file("a", b"1", 0o600)], [file("a", b"1", 0o644)]),
    ],
)
def test_old_or_new(kind: str, fresh: Callable[[list[File]], Path], old: list[File], new: list[File]) -> None:
    """A change killed at any point: a pod sees the old payload or the new one, never a mixture or a part."""
    both = [{item.path: item.contents for item in payload} for payload in (old, new)]

    def check(volume: Path) -> None:
        assert seen(volume) in both
        assert inspect(volume).committed
        # The record is that of the content, or recognisably older; the new one is never there before the content.
        details, current = recorded(volume)
        assert details in (OLD, NEW) and (current or details == OLD)
        assert not current or seen(volume) == both[details == NEW]

    assert killed_everywhere(kind, lambda: fresh(old), new, check) > 5


def test_first_payload(kind: str, fresh: Callable[[list[File]], Path]) -> None:
    """A first write killed at any point: all files are there and the volume is committed, or none are and it is not."""
    new = files(a=b"1", d__e=b"2", d__f=b"3")

    def check(volume: Path) -> None:
        whole = {item.path: item.contents for item in new}
        assert seen(volume) == (whole if inspect(volume).committed else {})
        assert not inspect(volume).foreign_entries

    killed_everywhere(kind, lambda: fresh([]), new, check)


def test_migration(kind: str, fresh: Callable[[list[File]], Path]) -> None:
    """A provider's own file and directory are replaced: killed at any point, each is there, old or new."""
    new = files(own=b"new", dir__f=b"new")

    def make() -> Path:
        volume = fresh([])
        (volume / "own").write_bytes(b"old")
        (volume / "dir").mkdir()
        (volume / "dir" / "f").write_bytes(b"old")
        return volume

    def check(volume: Path) -> None:
        assert seen(volume).keys() == {"own", "dir/f"}

    killed_everywhere(kind, make, new, check)


def test_failing_call_cleans_up(fresh: Callable[[list[File]], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A call fails and the process lives: nothing of the attempt stays behind."""
    old, new = files(a=b"1"), files(a=b"2", b=b"3")
    for name in ("mkdir", "symlink", "write", "fchmod", "fchown"):
        volume = fresh(old)

        def fail(*_: Any, **__: Any) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(Exception, match="Input/output error"):
                commit(volume, new)
        assert seen(volume) == {"a": b"1"}
        assert is_tidy(volume, "a")
