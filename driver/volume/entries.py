"""Removing directory entries: nothing is followed, no mount is entered, and depth costs no stack."""

import errno
import os
import secrets

from driver.volume import layout, syscalls, walk


def remove_all(directory: int) -> None:
    """Remove every entry, dot entries too. Somebody else may be removing the same ones."""
    for name in os.listdir(directory):
        remove(directory, name)


def remove(directory: int, name: str) -> None:
    """Remove one entry and what is below it; nothing there is fine. Raises OSError, EBUSY for a mount point."""
    hoisted = [name]
    while hoisted:
        name = hoisted.pop()
        if not _unlink(directory, name):
            hoisted += _flatten(directory, name)


def _unlink(directory: int, name: str) -> bool:
    """Remove a file or a symlink; False if it is a directory."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        return False
    return True


def _flatten(directory: int, name: str) -> list[str]:
    """Remove a directory; its sub-directories move up beside it, and their new names are returned."""
    hoisted = []
    try:
        below = os.open(name, walk.READ, dir_fd=directory)
    except FileNotFoundError:
        return []
    try:
        if syscalls.mount_id(below) != syscalls.mount_id(directory):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        for child in os.listdir(below):
            if not _unlink(below, child):
                upper = f"{layout.REMOVED}{secrets.token_hex(8)}"
                os.rename(child, upper, src_dir_fd=below, dst_dir_fd=directory)
                hoisted.append(upper)
    finally:
        os.close(below)
    try:  # noqa: SIM105
        os.rmdir(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    return hoisted
