"""The directory layout of a volume, which kubelet's atomic writer has used since Kubernetes 1.3.

::

    ..2026_11_24_03_00_00.1234567890/   the content directory: immutable once ..data points to it
    ..data -> ..2026_11_24_03_00_00.1234567890
    password -> ..data/password         one symlink for each top-level name of the payload
    certs -> ..data/certs
    ..record                            the volume's record, where it cannot be an extended attribute (``record``)

Entries of any other form are foreign: a provider wrote them into the volume itself.
"""

import errno
import os
import random
import re
import time
from collections.abc import Collection

from driver.volume import walk

DATA = "..data"
DATA_TMP = "..data_tmp"
RECORD = "..record"
RECORD_TMP = "..record_tmp"
DIRECTORY_MODE = 0o755
# Prefix of a directory that is being removed (``entries``).
REMOVED = "..removed_"
# The errors of open(2) with O_NOFOLLOW for an entry that is missing or of another type, such as a symlink or a socket.
MISSING_OR_OTHER_TYPE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)
# A timestamp in kubelet's format, and a random number.
_CONTENT_NAME = re.compile(r"\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\d+")


def new_content_name() -> str:
    """A name for a new content directory; the timestamp is in UTC."""
    return f"{time.strftime('..%Y_%m_%d_%H_%M_%S', time.gmtime())}.{random.randrange(2**32)}"


def is_content_name(name: str) -> bool:
    """Whether a name is that of a content directory."""
    return _CONTENT_NAME.fullmatch(name) is not None


def link_target(name: str) -> str:
    """Where the symlink at a top-level name points."""
    return f"{DATA}/{name}"


def read_link(root: int, name: str) -> str | None:
    """Where a symlink points; None if the entry is missing or is not a symlink."""
    try:
        return os.readlink(name, dir_fd=root)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            raise
        return None


def is_payload_link(root: int, name: str) -> bool:
    """Whether an entry is a symlink into the content, as the writer creates them."""
    return read_link(root, name) == link_target(name)


def open_current(root: int) -> tuple[str, int] | None:
    """Name and read descriptor of the directory that ``..data`` points to; None unless it lies in the volume."""
    name = read_link(root, DATA)
    if name is None or name in (".", "..") or "/" in name:
        return None
    try:
        return name, os.open(name, walk.READ, dir_fd=root)
    except OSError as error:
        # Any other error (say, too many open files) must not pass for "no content": the content would be swept away.
        if error.errno not in MISSING_OR_OTHER_TYPE:
            raise
        return None


def foreign_entries(root: int) -> list[str]:
    """The entries that are not part of this layout."""
    return [name for name in os.listdir(root) if not is_own(root, name)]


def is_own(root: int, name: str) -> bool:
    """Whether an entry is part of the layout, or was left behind by an interrupted writer."""
    return (
        name in (DATA, DATA_TMP, RECORD, RECORD_TMP)
        or name.startswith(REMOVED)
        or is_content_name(name)
        or is_payload_link(root, name)
    )


def is_leftover(root: int, name: str, current: str, content: Collection[str]) -> bool:
    """Whether an interrupted writer left an entry behind, or it belongs to former content.

    ``current`` is the name of the current content directory, ``content`` the names in it.
    """
    if name in (DATA_TMP, RECORD_TMP) or name.startswith(REMOVED):
        return True
    if is_content_name(name):
        return name != current
    return name not in content and is_payload_link(root, name)
