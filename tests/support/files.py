"""The identity of files."""

from pathlib import Path

NOTHING = (0, 0)


def inode(path: Path) -> tuple[int, int]:
    """A file's inode number and change time, because some file systems reuse numbers at once; ``NOTHING`` without a
    file."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return NOTHING
    return found.st_ino, found.st_ctime_ns
