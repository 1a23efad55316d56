"""The writer is killed at each of its system calls in turn: a pod sees the old payload or the new one, and the next
write cleans up."""

import os
import posix
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driver.volume import content, entries, layout, mounts, record, syscalls, writer
from driver.volume.payload import File
from tests.driver.volume.support import commit, file, files, forbid_attributes, inspect, is_tidy, seen

KILLED = 9
CHANGES = ("mkdir", "symlink", "rename", "unlink", "rmdir", "write", "fchmod", "fchown", "utime", "setxattr")


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


class MortalOs:
    """Replaces the module ``os``: ends the process before its n-th call that changes something. By posix._exit, because
    os._exit would write coverage data, here a thousand times."""

    def __init__(self, calls_left: int) -> None:
        self.calls_left = calls_left

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self.mortal(real) if name in CHANGES else real

    def mortal(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.calls_left == 0:
                posix._exit(KILLED)
            self.calls_left -= 1
            return call(*args, **kwargs)

        return counted


def write_and_die(volume: Path, payload: list[File], calls: int) -> bool:
    """Write in a child process that dies after so many changing calls; returns whether it completed before."""
    child = os.fork()
    if child == 0:
        mortal = MortalOs(calls)
        for module in (writer, entries, layout, content, record):
            module.os = mortal  # type: ignore[attr-defined]  # it has what these modules use of os
        syscalls.exchange = mortal.mortal(syscalls.exchange)
        try:
            commit(volume, payload, details=NEW)
            posix._exit(0)
        finally:
            posix._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, KILLED)
    return code == 0


def killed_everywhere(make: Callable[[], Path], payload: list[File], check: Callable[[Path], None]) -> int:
    """Kill at the first call, the second and so on, each in a fresh volume; returns how many calls a write takes."""
    for calls in range(1000):
        volume = make()
        ended = write_and_die(volume, payload, calls)
        check(volume)
        commit(volume, payload, details=NEW)
        assert seen(volume) == {item.path: item.contents for item in payload}
        assert recorded(volume) == (NEW, True)
        assert is_tidy(volume, *{item.path.split("/")[0] for item in payload})
        if ended:
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


@pytest.fixture(autouse=True, params=["attribute", "file"])
def directories_are_volumes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount for each of hundreds of writes would be slow; that only mounts are written to is tested elsewhere. The
    record is an extended attribute, or a file."""
    if request.param == "file":
        forbid_attributes(monkeypatch)
    monkeypatch.setattr("driver.volume.mounts.mount_on", lambda opened: mounts.Mounted(tmpfs=True))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (files(a=b"1", b=b"2"), files(a=b"X", b=b"Y")),
        (files(a=b"1", gone=b"2"), files(a=b"1", come=b"3", d__e=b"4")),
        (files(d__a=b"1"), files(d=b"1")),
        ([file("a", b"1", 0o600)], [file("a", b"1", 0o644)]),
    ],
)
def test_old_or_new(fresh: Callable[[list[File]], Path], old: list[File], new: list[File]) -> None:
    """A change killed at any point: a pod sees the old payload or the new one, never a mixture or a part."""
    both = [{item.path: item.contents for item in payload} for payload in (old, new)]

    def check(volume: Path) -> None:
        assert seen(volume) in both
        assert inspect(volume).committed
        # The record is that of the content, or recognisably older; the new one is never there before the content.
        details, current = recorded(volume)
        assert details in (OLD, NEW) and (current or details == OLD)
        assert not current or seen(volume) == both[details == NEW]

    assert killed_everywhere(lambda: fresh(old), new, check) > 5


def test_first_payload(fresh: Callable[[list[File]], Path]) -> None:
    """A first write killed at any point: all files are there and the volume is committed, or none are and it is not."""
    new = files(a=b"1", d__e=b"2", d__f=b"3")

    def check(volume: Path) -> None:
        whole = {item.path: item.contents for item in new}
        assert seen(volume) == (whole if inspect(volume).committed else {})
        assert not inspect(volume).foreign_entries

    killed_everywhere(lambda: fresh([]), new, check)


def test_migration(fresh: Callable[[list[File]], Path]) -> None:
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

    killed_everywhere(make, new, check)


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
