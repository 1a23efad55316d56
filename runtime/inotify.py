"""Watch directories with inotify(7), as an asynchronous iterator of events.

The kernel's watch exists once ``Watch(…)`` returns, so a caller that watches first, then lists the directory and then
iterates misses nothing. A running event loop is required.
"""

import asyncio
import ctypes
import os
import struct
from collections.abc import AsyncIterator
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

_IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x40, 0x80, 0x100, 0x200
_IN_DELETE_SELF, _IN_MOVE_SELF, _IN_UNMOUNT, _IN_Q_OVERFLOW, _IN_IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
_IN_ONLYDIR, _IN_ISDIR = 0x01000000, 0x40000000
_WANTED = _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE | _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_ONLYDIR
_HEADER = struct.Struct("iIII")
_READ_SIZE = 64 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


class Kind(Enum):
    """What happened."""

    APPEARED = "appeared"
    """An entry was created in the directory, or moved into it (also over an existing entry of that name)."""
    REMOVED = "removed"
    """An entry was unlinked, or moved away."""
    DIRECTORY_GONE = "gone"
    """The directory itself was removed, moved or unmounted: there will be no more events for it. ``name`` is empty."""
    OVERFLOW = "lost"
    """The kernel's queue was full and events were dropped: list the directories again. ``path`` is meaningless."""


class Event(NamedTuple):
    """One event: the watched directory as it was passed to ``Watch``, the entry's name in it, what happened, and
    whether the entry is a directory."""

    directory: Path
    name: str
    kind: Kind
    is_directory: bool = False

    @property
    def path(self) -> Path:
        """The path of the entry (of the directory itself for DIRECTORY_GONE)."""
        return self.directory / self.name if self.name else self.directory


class Watch:
    """``with Watch(directory, …) as events: async for event in events: …``; any number of directories, one reader.

    Raises the system call's OSError if a directory does not exist or may not be read.
    """

    def __init__(self, *directories: Path) -> None:
        self._descriptor = _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")
        self._directories: dict[int, Path] = {}
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        try:
            for directory in directories:
                self.add(directory)
        except OSError:
            os.close(self._descriptor)
            raise
        self._loop.add_reader(self._descriptor, self._read)

    def add(self, directory: Path) -> None:
        """Watch one more directory."""
        number = _libc.inotify_add_watch(self._descriptor, os.fsencode(directory), ctypes.c_uint32(_WANTED))
        self._directories[_check(number, str(directory))] = directory

    def close(self) -> None:
        """Stop watching. Idempotent."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            yield await self.next()

    async def next(self) -> Event:
        """Wait for the next event. Cancelling loses no event, so ``asyncio.timeout`` may be used around it."""
        return await self._queue.get()

    def _read(self) -> None:
        try:
            buffer = os.read(self._descriptor, _READ_SIZE)
        except BlockingIOError:
            return
        position = 0
        while position < len(buffer):
            number, mask, _, length = _HEADER.unpack_from(buffer, position)
            position += _HEADER.size
            self._enqueue(number, mask, os.fsdecode(buffer[position : position + length].rstrip(b"\0")))
            position += length

    def _enqueue(self, number: int, mask: int, name: str) -> None:
        if mask & _IN_Q_OVERFLOW:
            self._queue.put_nowait(Event(Path(), "", Kind.OVERFLOW))
            return
        if mask & _IN_IGNORED:  # follows the removal of a watch, which was reported already
            self._directories.pop(number, None)
            return
        directory = self._directories.get(number)
        if directory is None:
            return
        if mask & (_IN_DELETE_SELF | _IN_MOVE_SELF | _IN_UNMOUNT):
            self._queue.put_nowait(Event(directory, "", Kind.DIRECTORY_GONE, True))
            return
        kind = Kind.APPEARED if mask & (_IN_CREATE | _IN_MOVED_TO) else Kind.REMOVED
        self._queue.put_nowait(Event(directory, name, kind, bool(mask & _IN_ISDIR)))


def _check(result: int, subject: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), subject)
    return result
