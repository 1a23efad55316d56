"""The atomic writer: a reader sees the old payload or the new one, whole, at whatever point the writer dies.

 1. The whole payload was checked and planned before this (``payload.plan``); modes and group are part of the plan.
 2. Sweep: what an earlier writer left half-way goes (``..data_tmp``, content directories and links that
    ``..data`` does not account for).
 3. Compare the plan with the content that ``..data`` names: names, contents, modes and group. If equal, go on at 7.
 4. Make a new content directory, with a name that nobody reads, and write everything into it; set permissions
    last, so that the umask does not matter.
 5. Make the links of new first components. They dangle until the next step: no reader sees a part of the new.
 6. Commit: make ``..data_tmp`` and rename it over ``..data``.
 7. Put links in place of other entries at first components (a provider wrote files itself before): exchanged in
    one step, after the commit, so that a reader finds the old file or the new one and never none.
 8. Sweep again: the links of dropped first components, then the old content directory.

A writer that fails before 6 sweeps too, which removes its own new directory and links. Everything is done relative to
the one open directory of the volume, and no symlink is followed. An empty payload is a payload: its content directory
is empty, and entries that are not the writer's are left alone.
"""

import os
import stat

from driver.volume import entries, layout, syscalls
from driver.volume.payload import Leaf, Tree

_DIRECTORY_MODE = 0o755
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def write(root: int, tree: Tree, group: int) -> bool:
    """Make the open directory ``root`` hold exactly the payload; tells whether anything changed. Raises OSError."""
    sweep(root)
    changed = not _is_current(root, tree, group)
    if changed:
        _replace_content(root, tree, group)
    for name in tree:
        if not layout.is_our_link(root, name):
            _point(root, name, layout.link_text(name))
            changed = True
    if changed:
        sweep(root)
    return changed


def sweep(root: int) -> None:
    """Steps 2 and 8: remove what ``..data`` does not account for; links first, so that none dangles for long."""
    opened = layout.open_current(root)
    current, content = "", set[str]()
    if opened is not None:
        current, fd = opened
        try:
            content = set(os.listdir(fd))
        finally:
            os.close(fd)
    left_over = [name for name in os.listdir(root) if layout.is_left_over(root, name, current, content)]
    for name in sorted(left_over, key=layout.is_stamp):
        entries.remove(root, name)


def _replace_content(root: int, tree: Tree, group: int) -> None:
    """Steps 4 to 6."""
    try:
        stamp = _make_content(root, tree, group)
        for name in tree:
            _link_if_free(root, name)
        _point(root, layout.DATA, stamp)
    except BaseException:
        sweep(root)
        raise


def _make_content(root: int, tree: Tree, group: int) -> str:
    """Step 4."""
    while True:
        stamp = layout.new_stamp()
        try:
            os.mkdir(stamp, 0o700, dir_fd=root)
            break
        except FileExistsError:
            continue  # two writes in one second that drew the same number
    _fill(root, stamp, tree, group)
    return stamp


def _fill(parent: int, name: str, tree: Tree, group: int) -> None:
    """Write the files of a directory that was just made."""
    directory = os.open(name, _ENTER, dir_fd=parent)
    try:
        for below, node in tree.items():
            if isinstance(node, Leaf):
                _create(directory, below, node, group)
            else:
                os.mkdir(below, 0o700, dir_fd=directory)
                _fill(directory, below, node, group)
        _finish(directory, _DIRECTORY_MODE, group)
    finally:
        os.close(directory)


def _create(directory: int, name: str, leaf: Leaf, group: int) -> None:
    fd = os.open(name, _CREATE, 0o600, dir_fd=directory)
    try:
        rest = memoryview(leaf.contents)
        while rest:
            rest = rest[os.write(fd, rest) :]
        _finish(fd, leaf.mode, group)
    finally:
        os.close(fd)


def _finish(fd: int, mode: int, group: int) -> None:
    os.fchown(fd, -1, group)
    os.fchmod(fd, mode)


def _link_if_free(root: int, name: str) -> None:
    """Step 5."""
    try:  # noqa: SIM105
        os.symlink(layout.link_text(name), name, dir_fd=root)
    except FileExistsError:
        pass  # the link of the old payload; anything else is dealt with after the commit


def _point(root: int, name: str, text: str) -> None:
    """Steps 6 and 7: let ``name`` be a symlink in one step, whatever was there."""
    os.symlink(text, layout.DATA_TMP, dir_fd=root)
    try:
        os.rename(layout.DATA_TMP, name, src_dir_fd=root, dst_dir_fd=root)
    except IsADirectoryError:
        syscalls.exchange(root, layout.DATA_TMP, name)
        entries.remove(root, layout.DATA_TMP)


def _is_current(root: int, tree: Tree, group: int) -> bool:
    """Step 3."""
    opened = layout.open_current(root)
    if opened is None:
        return False
    _, fd = opened
    try:
        return _is_same_directory(fd, tree, group)
    finally:
        os.close(fd)


def _is_same_directory(fd: int, tree: Tree, group: int) -> bool:
    info = os.fstat(fd)
    if stat.S_IMODE(info.st_mode) != _DIRECTORY_MODE or info.st_gid != group or set(os.listdir(fd)) != tree.keys():
        return False
    return all(_is_same(fd, name, node, group) for name, node in tree.items())


def _is_same(directory: int, name: str, node: "Leaf | Tree", group: int) -> bool:
    try:
        fd = os.open(name, _READ if isinstance(node, Leaf) else _ENTER, dir_fd=directory)
    except OSError as error:
        if error.errno not in layout.OTHER_KIND:
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
    # Nobody writes to content in place; a read that is cut short only means that it is written anew.
    return os.read(fd, info.st_size + 1) == leaf.contents
