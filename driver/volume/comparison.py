"""Compares the current content of a volume with a payload: names, contents, modes and group."""

import os
import stat

from driver.volume import layout, walk
from driver.volume.payload import Leaf, Tree


def is_current(root: int, tree: Tree, group: int) -> bool:
    """Whether the content that ``..data`` points to is exactly this payload. Raises OSError."""
    current = layout.open_current(root)
    if current is None:
        return False
    try:
        return _is_same_directory(current[1], tree, group)
    finally:
        os.close(current[1])


def _is_same_directory(fd: int, tree: Tree, group: int) -> bool:
    info = os.fstat(fd)
    if (
        stat.S_IMODE(info.st_mode) != layout.DIRECTORY_MODE
        or info.st_gid != group
        or set(os.listdir(fd)) != tree.keys()
    ):
        return False
    return all(_is_same(fd, name, node, group) for name, node in tree.items())


def _is_same(directory: int, name: str, node: Leaf | Tree, group: int) -> bool:
    try:
        fd = os.open(name, walk.READ_FILE if isinstance(node, Leaf) else walk.READ, dir_fd=directory)
    except OSError as error:
        if error.errno not in layout.MISSING_OR_OTHER_TYPE:
            raise
        return False
    try:
        return _is_same_file(fd, node, group) if isinstance(node, Leaf) else _is_same_directory(fd, node, group)
    finally:
        os.close(fd)


def _is_same_file(fd: int, leaf: Leaf, group: int) -> bool:
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or stat.S_IMODE(info.st_mode) != leaf.mode or info.st_gid != group:
        return False
    if info.st_size != len(leaf.contents):
        return False
    # The content is immutable; a short read would only cause it to be written again.
    return os.read(fd, info.st_size + 1) == leaf.contents
