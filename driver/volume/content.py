"""Reading a volume: is it committed, how old is it, what is in it."""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from driver.volume import layout, walk
from driver.volume.failures import told_as
from driver.volume.payload import DEEPEST
from runtime.errors import ResourceExhausted

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def is_committed(path: str) -> bool:
    """Whether ``..data`` names a directory inside the volume."""
    return last_refresh(path) is not None


def has_foreign_entries(path: str) -> bool:
    """Whether there are entries that no atomic writer made: a self-writing provider did, maybe under the Go driver."""
    with _opened(path) as root:
        return root is not None and bool(layout.foreign(root))


def last_refresh(path: str) -> float | None:
    """When the volume was last refreshed, in Unix time; None if the volume is not committed."""
    with _opened(path) as root:
        return None if root is None else last_refresh_of(root)


def touch_refresh(path: str, when: float | None = None) -> None:
    """Set the time of the last refresh, by default to now; a volume that is not committed has none."""
    with _opened(path) as root:
        if root is not None:
            set_last_refresh(root, when)


def last_refresh_of(root: int) -> float | None:
    """``last_refresh`` of an open volume: the modification time of the directory that ``..data`` names."""
    with _current(root) as content:
        return None if content is None else os.fstat(content).st_mtime


def set_last_refresh(root: int, when: float | None = None) -> None:
    """``touch_refresh`` of an open volume."""
    with _current(root) as content:
        if content is not None:
            os.utime(content, None if when is None else (when, when))


def read_files(path: str, limit: int) -> dict[str, bytes]:
    """The files as a pod sees them, keyed by their path in it; names that begin with ``..`` are the writer's own.

    A top-level symlink is followed once, if it stays inside the volume; others, and what is neither file nor
    directory, are left out. Raises ResourceExhausted if the contents are more than ``limit`` bytes.
    """
    found: dict[str, bytes] = {}
    reader = _Reader(limit, found)
    with _opened(path) as root:
        if root is not None:
            for name in sorted(os.listdir(root)):
                if not name.startswith(".."):
                    _read_top(root, name, reader)
    return found


class _Reader:
    def __init__(self, limit: int, found: dict[str, bytes]) -> None:
        self._left = self._limit = limit
        self._found = found

    def read(self, directory: int, name: str, key: str, depth: int = 0) -> None:
        """Read a file, or all files below a directory; never through a symlink."""
        try:
            fd = os.open(name, _READ, dir_fd=directory)
        except OSError as error:
            if error.errno not in layout.OTHER_KIND:
                raise
            return
        try:
            kind = os.fstat(fd).st_mode
            if stat.S_ISREG(kind):
                self._found[key] = self._contents(fd)
            elif stat.S_ISDIR(kind) and depth < DEEPEST:
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


def _read_top(root: int, name: str, reader: _Reader) -> None:
    text = layout.read_link(root, name)
    if text is None:
        reader.read(root, name, name)
        return
    names = text.split("/")
    if len(names) > DEEPEST or any(part in ("", ".", "..") for part in names):
        return
    with ExitStack() as stack:
        directory = root
        if names[0] == layout.DATA:
            del names[0]
            opened = layout.open_current(root)
            if opened is None:
                return
            directory = _kept(stack, opened[1])
        if not names:
            return
        try:
            for part in names[:-1]:
                directory = _kept(stack, os.open(part, walk.HANDLE, dir_fd=directory))
        except OSError as error:
            if error.errno not in layout.OTHER_KIND:
                raise
            return  # the link dangles, or leads through another symlink
        reader.read(directory, names[-1], name)


def _kept(stack: ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


@contextmanager
def _opened(path: str) -> Iterator[int | None]:
    with told_as(f"failed to read target path {path}"), ExitStack() as stack:
        try:
            root = stack.enter_context(walk.directory(path, walk.READ)).fd
        except FileNotFoundError:
            root = None
        yield root


@contextmanager
def _current(root: int) -> Iterator[int | None]:
    opened = layout.open_current(root)
    if opened is None:
        yield None
        return
    try:
        yield opened[1]
    finally:
        os.close(opened[1])
