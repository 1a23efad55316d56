"""The atomic writer: readers see the old payload or the new one, each complete, even if the writer is killed.

 1. The caller has validated the whole payload and made it a tree (``payload.plan``), modes included.
 2. Sweep: remove what an interrupted writer left behind, that is ``..data_tmp``, and the content directories and
    symlinks that do not belong to the content that ``..data`` points to.
 3. Compare the payload with that content: names, contents, modes and group. If they are equal, continue with step 7.
 4. Create a new content directory, under a name that nobody reads, and write all files into it. Permissions are set
    last, so that the umask has no effect.
 5. Create the symlinks of new top-level names. They dangle until the next step: no reader sees a part of the payload.
 6. Commit: create ``..data_tmp`` and rename it to ``..data``.
 7. Replace other entries at the payload's top-level names (files that a provider wrote itself) by symlinks. After the
    commit, and atomically: a reader finds the old file or the new one, and always finds one.
 8. Sweep again: the symlinks of top-level names that are gone, then the old content directory.

If the writer fails before the commit, the sweep removes its own new directory and symlinks. All steps work relative to
the open directory of the volume and follow no symlink. An empty payload is valid: its content directory is empty, and
foreign entries are left alone.
"""

import os
from contextlib import suppress

from driver.volume import comparison, entries, layout, syscalls, walk
from driver.volume.payload import Leaf, Tree

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write(root: int, tree: Tree, group: int) -> bool:
    """Make the payload the content of the volume that is open as ``root``; returns whether anything changed.

    Every file and directory gets the group id ``group``. Raises OSError.
    """
    sweep(root)
    changed = not comparison.is_current(root, tree, group)
    if changed:
        _replace_content(root, tree, group)
    for name in tree:
        if not layout.is_payload_link(root, name):
            _replace_by_link(root, name, layout.link_target(name))
            changed = True
    if changed:
        sweep(root)
    return changed


def sweep(root: int) -> None:
    """Steps 2 and 8: remove leftovers; symlinks first, so that none dangles for long."""
    opened = layout.open_current(root)
    current, content = "", set[str]()
    if opened is not None:
        current, fd = opened
        try:
            content = set(os.listdir(fd))
        finally:
            os.close(fd)
    leftovers = [name for name in os.listdir(root) if layout.is_leftover(root, name, current, content)]
    for name in sorted(leftovers, key=layout.is_content_name):
        entries.remove(root, name)


def _replace_content(root: int, tree: Tree, group: int) -> None:
    """Steps 4 to 6."""
    try:
        content = _create_content(root, tree, group)
        for name in tree:
            _link_if_missing(root, name)
        _replace_by_link(root, layout.DATA, content)
    except BaseException:
        sweep(root)
        raise


def _create_content(root: int, tree: Tree, group: int) -> str:
    """Step 4; returns the name of the new content directory."""
    while True:
        name = layout.new_content_name()
        try:
            os.mkdir(name, 0o700, dir_fd=root)
            break
        except FileExistsError:
            continue  # a write in the same second drew the same random number
    _fill(root, name, tree, group)
    return name


def _fill(parent: int, name: str, tree: Tree, group: int) -> None:
    """Write everything below an empty directory."""
    directory = os.open(name, walk.READ, dir_fd=parent)
    try:
        for below, node in tree.items():
            if isinstance(node, Leaf):
                _create(directory, below, node, group)
            else:
                os.mkdir(below, 0o700, dir_fd=directory)
                _fill(directory, below, node, group)
        _set_owner_and_mode(directory, layout.DIRECTORY_MODE, group)
    finally:
        os.close(directory)


def _create(directory: int, name: str, leaf: Leaf, group: int) -> None:
    fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
    try:
        rest = memoryview(leaf.contents)
        while rest:
            rest = rest[os.write(fd, rest) :]
        _set_owner_and_mode(fd, leaf.mode, group)
    finally:
        os.close(fd)


def _set_owner_and_mode(fd: int, mode: int, group: int) -> None:
    os.fchown(fd, -1, group)
    os.fchmod(fd, mode)


def _link_if_missing(root: int, name: str) -> None:
    """Step 5."""
    with suppress(FileExistsError):  # the symlink of the old payload, or another entry, which step 7 replaces
        os.symlink(layout.link_target(name), name, dir_fd=root)


def _replace_by_link(root: int, name: str, target: str) -> None:
    """Steps 6 and 7: make ``name`` a symlink to ``target`` atomically, whatever it was before."""
    os.symlink(target, layout.DATA_TMP, dir_fd=root)
    try:
        os.rename(layout.DATA_TMP, name, src_dir_fd=root, dst_dir_fd=root)
    except IsADirectoryError:
        syscalls.exchange(root, layout.DATA_TMP, name)
        entries.remove(root, layout.DATA_TMP)
