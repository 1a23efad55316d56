"""Removes directory trees without following symlinks, entering mounts, or recursing."""

import errno
import os
import secrets
from contextlib import suppress

from driver.volume import layout, syscalls, walk


def remove_all(directory: int) -> None:
    """Remove every entry of an open directory, dot files included. Others may be removing the same entries."""
    for name in os.listdir(directory):
        remove(directory, name)


def remove(directory: int, name: str) -> None:
    """Remove one entry and everything below it; a missing entry is fine. Raises OSError, EBUSY for a mount point."""
    remaining = [name]
    while remaining:
        name = remaining.pop()
        if not _unlink(directory, name):
            remaining += _flatten(directory, name)


def _unlink(directory: int, name: str) -> bool:
    """Remove a file or a symlink; returns False if it is a directory."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        return False
    return True


def _flatten(directory: int, name: str) -> list[str]:
    """Remove a subdirectory after moving its own subdirectories up into ``directory``; returns their new names.

    A tree of any depth is removed so with constant stack and descriptors.
    """
    moved = []
    try:
        below = os.open(name, walk.READ, dir_fd=directory)
    except FileNotFoundError:
        return []
    try:
        if syscalls.mount_id(below) != syscalls.mount_id(directory):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        for child in os.listdir(below):
            if not _unlink(below, child):
                new_name = f"{layout.REMOVED}{secrets.token_hex(8)}"
                os.rename(child, new_name, src_dir_fd=below, dst_dir_fd=directory)
                moved.append(new_name)
    finally:
        os.close(below)
    with suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=directory)
    return moved
