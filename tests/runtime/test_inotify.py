"""runtime.inotify against the kernel's own inotify."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from runtime.inotify import Event, Kind, Watch


async def _gather(watch: Watch, count: int) -> list[Event]:
    async with asyncio.timeout(5):
        return [await watch.next() for _ in range(count)]


def _in_watch(directory: Path, scenario: Callable[[Watch], Awaitable[None]]) -> None:
    async def run() -> None:
        with Watch(directory) as watch:
            await scenario(watch)

    asyncio.run(run())


def test_appeared_and_removed(tmp_path: Path) -> None:
    """A socket is bound, a directory made, the socket removed → three events in that order, with name and kind."""

    async def scenario(watch: Watch) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "a.sock"))
        (tmp_path / "sub").mkdir()
        (tmp_path / "a.sock").unlink()
        assert await _gather(watch, 3) == [
            Event(tmp_path, "a.sock", Kind.APPEARED),
            Event(tmp_path, "sub", Kind.APPEARED, True),
            Event(tmp_path, "a.sock", Kind.REMOVED),
        ]

    _in_watch(tmp_path, scenario)


def test_a_rename_over_an_entry_is_an_appearance(tmp_path: Path) -> None:
    """A hidden name is renamed over an existing one (as runtime.sockets binds) → the old name goes, the new one
    appears."""
    for name in ("old", ".hidden"):
        (tmp_path / name).touch()

    async def scenario(watch: Watch) -> None:
        os.rename(tmp_path / ".hidden", tmp_path / "old")
        assert [(event.name, event.kind) for event in await _gather(watch, 2)] == [
            (".hidden", Kind.REMOVED),
            ("old", Kind.APPEARED),
        ]

    _in_watch(tmp_path, scenario)


def test_events_before_the_first_read_are_kept(tmp_path: Path) -> None:
    """Something happens between the start of the watch and the iteration → the iterator still yields it: watch, list,
    iterate misses nothing."""

    async def scenario(watch: Watch) -> None:
        (tmp_path / "early").touch()
        await asyncio.sleep(0)  # the loop may read the event before anybody waits for it
        async with asyncio.timeout(5):
            async for event in watch:
                assert event.path == tmp_path / "early"
                break

    _in_watch(tmp_path, scenario)


def test_a_directory_that_is_removed(tmp_path: Path) -> None:
    """The watched directory is removed → one GONE event for it, and a directory added later is still watched."""
    gone, other = tmp_path / "gone", tmp_path / "other"
    gone.mkdir()
    other.mkdir()

    async def scenario(watch: Watch) -> None:
        gone.rmdir()
        assert await _gather(watch, 1) == [Event(gone, "", Kind.DIRECTORY_GONE, True)]
        watch.add(other)
        (other / "file").touch()
        assert await _gather(watch, 1) == [Event(other, "file", Kind.APPEARED)]

    _in_watch(gone, scenario)


def test_a_missing_directory_is_an_error_without_a_leak(tmp_path: Path) -> None:
    """Watching what does not exist → FileNotFoundError that names it; no descriptor stays open."""

    async def run() -> None:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(FileNotFoundError, match="absent"):
            Watch(tmp_path / "absent")
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(run())


def test_a_wait_may_be_cancelled(tmp_path: Path) -> None:
    """A wait is cancelled by a timeout → the next event is not lost."""

    async def scenario(watch: Watch) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await watch.next()
        (tmp_path / "later").touch()
        assert (await _gather(watch, 1))[0].name == "later"

    _in_watch(tmp_path, scenario)
