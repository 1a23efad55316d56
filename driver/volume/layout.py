"""The layout that kubelet's atomic writer has given volumes since Kubernetes 1.3, and how we recognise it.

::

    ..2026_11_24_03_00_00.1234567890/   the content: a directory that never changes once it is named by ..data
    ..data -> ..2026_11_24_03_00_00.1234567890
    password -> ..data/password         one link for each first component
    certs -> ..data/certs
"""

import errno
import os
import random
import re
import time
from collections.abc import Collection

DATA = "..data"
DATA_TMP = "..data_tmp"
# A directory on its way out (``entries``)
REMOVED = "..removed_"
# What open says with O_NOFOLLOW where there is nothing, or something of another kind: a symlink, a file, a socket
OTHER_KIND = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
# Kubelet's reference time layout, then a random number
_STAMP = re.compile(r"\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\d+")


def new_stamp() -> str:
    """A name for a new content directory, in UTC."""
    return f"{time.strftime('..%Y_%m_%d_%H_%M_%S', time.gmtime())}.{random.randrange(2**32)}"


def is_stamp(name: str) -> bool:
    """Whether a name is that of a content directory."""
    return _STAMP.fullmatch(name) is not None


def link_text(name: str) -> str:
    """What the link at a first component says."""
    return f"{DATA}/{name}"


def read_link(root: int, name: str) -> str | None:
    """What a symlink says; None for anything else and for nothing."""
    try:
        return os.readlink(name, dir_fd=root)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            raise
        return None


def is_our_link(root: int, name: str) -> bool:
    """Whether an entry is a link as the writer makes it."""
    return read_link(root, name) == link_text(name)


def open_current(root: int) -> tuple[str, int] | None:
    """The directory that ``..data`` names, and it open for reading; None unless it lies inside the volume."""
    name = read_link(root, DATA)
    if name is None or name in (".", "..") or "/" in name:
        return None
    try:
        return name, os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    except OSError as error:
        # Only these: to take content for none because, say, no descriptor is left would have it swept away.
        if error.errno not in OTHER_KIND:
            raise
        return None


def foreign(root: int) -> list[str]:
    """The entries that no writer of this layout made: a provider wrote them itself."""
    return [name for name in os.listdir(root) if not is_ours(root, name)]


def is_ours(root: int, name: str) -> bool:
    """Whether an entry is part of the layout, or a left-over of it."""
    return name in (DATA, DATA_TMP) or name.startswith(REMOVED) or is_stamp(name) or is_our_link(root, name)


def is_left_over(root: int, name: str, current: str, content: Collection[str]) -> bool:
    """Whether an entry was left by a writer that ended half-way, or belongs to content that is no longer there."""
    if name == DATA_TMP or name.startswith(REMOVED):
        return True
    if is_stamp(name):
        return name != current
    return name not in content and is_our_link(root, name)
