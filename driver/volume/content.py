"""Reads the content of a volume: when it was last refreshed, and its files."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from driver.volume import layout, walk
from driver.volume.failures import os_errors_as
from runtime.errors import ResourceExhausted

# More than this driver writes: another one may have written the volume.
_MAX_DEPTH = 100


def last_refresh(root: int) -> float | None:
    """When the volume that is open as ``root`` was last refreshed, in Unix time; None if it is not committed.

    This is the modification time of the directory that ``..data`` points to.
    """
    with _current(root) as directory:
        return None if directory is None else os.fstat(directory).st_mtime


def set_last_refresh(root: int, time: float | None = None) -> None:
    """Make a Unix time, or now, the time of the last refresh of a committed volume."""
    with _current(root) as directory:
        if directory is not None:
            os.utime(directory, None if time is None else (time, time))


def read_files(path: str, limit: int) -> dict[str, bytes]:
    """The files as a pod sees them, by their paths in the volume; names that begin with ``..`` are reserved.

    A top-level symlink is followed once if it stays inside the volume. Other symlinks, and entries that are neither
    files nor directories, are skipped. Raises ResourceExhausted if the files hold more than ``limit`` bytes in all.
    """
    reader = _Reader(limit)
    with _opened(path) as root:
        if root is not None:
            for name in sorted(os.listdir(root)):
                if not name.startswith(".."):
                    _read_top_level(root, name, reader)
    return reader.files


class _Reader:
    """Collects files by key, up to a limit of bytes."""

    def __init__(self, limit: int) -> None:
        self.files: dict[str, bytes] = {}
        self._limit = self._left = limit

    def read(self, directory: int, name: str, key: str, depth: int = 0) -> None:
        """Read a file, or all files below a directory, without following symlinks."""
        try:
            fd = os.open(name, walk.READ_FILE, dir_fd=directory)
        except OSError as error:
            if error.errno not in layout.MISSING_OR_OTHER_TYPE:
                raise
            return
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISREG(mode):
                self.files[key] = self._contents(fd)
            elif stat.S_ISDIR(mode) and depth < _MAX_DEPTH:
                for below in sorted(os.listdir(fd)):
                    self.read(fd, below, f"{key}/{below}", depth + 1)
        finally:
            os.close(fd)

    def _contents(self, fd: int) -> bytes:
        with open(fd, "rb", closefd=False) as file:
            contents = file.read(self._left + 1)
        self._left -= len(contents)
        if self._left < 0:
            raise ResourceExhausted(f"the volume holds more than the {self._limit} bytes that are read at once")
        return contents


def _read_top_level(root: int, name: str, reader: _Reader) -> None:
    link = layout.read_link(root, name)
    if link is None:
        reader.read(root, name, name)
        return
    names = link.split("/")
    if len(names) > _MAX_DEPTH or any(part in ("", ".", "..") for part in names):
        return
    with ExitStack() as stack:
        directory = root
        if names[0] == layout.DATA:
            del names[0]
            current = layout.open_current(root)
            if current is None:
                return
            directory = _close_later(stack, current[1])
        if not names:
            return
        try:
            for part in names[:-1]:
                directory = _close_later(stack, os.open(part, walk.HANDLE, dir_fd=directory))
        except OSError as error:
            if error.errno not in layout.MISSING_OR_OTHER_TYPE:
                raise
            return  # the symlink dangles, or leads through another symlink
        reader.read(directory, names[-1], name)


def _close_later(stack: ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


@contextmanager
def _opened(path: str) -> Iterator[int | None]:
    with os_errors_as(f"failed to read target path {path}"), ExitStack() as stack:
        try:
            root = stack.enter_context(walk.directory(path, walk.READ)).fd
        except FileNotFoundError:
            root = None
        yield root


@contextmanager
def _current(root: int) -> Iterator[int | None]:
    current = layout.open_current(root)
    if current is None:
        yield None
        return
    try:
        yield current[1]
    finally:
        os.close(current[1])
