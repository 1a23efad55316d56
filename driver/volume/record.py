"""The record of a volume, kept in the volume: whose it is and what is known of it.

A pod status cannot say whose a mounted volume is after a restart: whoever may create pod statuses in one namespace
could claim another namespace's volume. What only root on the node can write is the tmpfs itself. Its record is

- the extended attribute ``trusted.secrets-store-csi.volume`` of the root directory. Without CAP_SYS_ADMIN in the
  initial user namespace an attribute of this class can be neither written nor seen (xattr(7)), so no pod can forge it
  unless it is as powerful as the driver;
- else, in a user namespace or on a kernel whose tmpfs has no such attributes, the file ``..record`` beside ``..data``.
  Pods have the volume mounted read-only, and names that begin with ``..`` are refused in a payload. A file that is not
  a regular one with mode 0600, the driver's own user and a single link is not a record. It holds nothing secret.

Order of writing, so that the driver may be killed at any point:

1. The first record is written to the empty tmpfs directly after it is mounted; it has no ``content``.
2. The content is committed (``writer``), then the record is replaced, atomically, by one whose ``content`` is the name
   of the new content directory. In between, the record names another content directory than ``..data`` does:
   ``details`` that describe content are out of date then, what identifies the volume is not.

A record that is damaged or of an unknown version is treated as none.
"""

import errno
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from driver.limits import MAX_RECORD_BYTES
from driver.volume import entries, layout, walk

ATTRIBUTE = "trusted.secrets-store-csi.volume"
VERSION = 1
_MODE = 0o600
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# setxattr(2): in a user namespace, or without support in the kernel's tmpfs.
_NO_ATTRIBUTES = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP)


class TooLarge(Exception):
    """The record does not fit."""


@dataclass(frozen=True)
class Record:
    """What is written to a volume.

    ``mounted`` is whether this driver mounted the tmpfs, so that everything in it may be removed with it. ``content``
    is the name of the content directory that ``details`` describe; empty before the first commit. ``details`` are JSON
    and belong to the layers above.
    """

    mounted: bool
    content: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def read(root: int) -> Record | None:
    """The record of the volume that is open as ``root``; None if there is none that can be used. Raises OSError."""
    data = _read_attribute(root)
    if data is None:
        data = _read_file(root)
    return None if data is None else _decode(data)


def write(root: int, record: Record) -> None:
    """Replace the record of the volume that is open as ``root``, atomically. Raises OSError, or TooLarge."""
    data = _encode(record)
    try:
        os.setxattr(root, ATTRIBUTE, data)
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTES:
            raise
        _write_file(root, data)


def update(root: int, details: Mapping[str, Any]) -> None:
    """Write ``details`` for the current content, if they are not there already; ``mounted`` stays as it is. Raises
    OSError, or TooLarge."""
    former = read(root)
    record = Record(former is not None and former.mounted, _current_content(root), details)
    if record != former:
        write(root, record)


def is_up_to_date(root: int, record: Record) -> bool:
    """Whether ``details`` describe the content that is there now."""
    return record.content != "" and record.content == _current_content(root)


def _current_content(root: int) -> str:
    return layout.read_link(root, layout.DATA) or ""


def _encode(record: Record) -> bytes:
    document = {
        "version": VERSION,
        "mounted": record.mounted,
        "content": record.content,
        "details": dict(record.details),
    }
    data = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    if len(data) > MAX_RECORD_BYTES:
        raise TooLarge(f"the record of the volume has {len(data)} bytes; {MAX_RECORD_BYTES} are possible")
    return data


def _decode(data: bytes) -> Record | None:
    try:
        document = json.loads(data)
        if document["version"] != VERSION:
            return None
        mounted, content, details = document["mounted"], document["content"], document["details"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not (isinstance(mounted, bool) and isinstance(content, str) and isinstance(details, dict)):
        return None
    return Record(mounted, content, details)


def _read_attribute(root: int) -> bytes | None:
    try:
        return os.getxattr(root, ATTRIBUTE)
    except OSError as error:
        if error.errno not in (errno.ENODATA, *_NO_ATTRIBUTES):
            raise
        return None


def _read_file(root: int) -> bytes | None:
    try:
        fd = os.open(layout.RECORD, walk.READ_FILE, dir_fd=root)
    except OSError as error:
        if error.errno not in (*layout.MISSING_OR_OTHER_TYPE, errno.EACCES):
            raise
        return None
    try:
        info = os.fstat(fd)
        ours = stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid() and info.st_nlink == 1
        if not ours or stat.S_IMODE(info.st_mode) != _MODE or info.st_size > MAX_RECORD_BYTES:
            return None
        with open(fd, "rb", closefd=False) as file:
            return file.read(MAX_RECORD_BYTES)
    finally:
        os.close(fd)


def _write_file(root: int, data: bytes) -> None:
    entries.remove(root, layout.RECORD_TMP)
    fd = os.open(layout.RECORD_TMP, _CREATE, _MODE, dir_fd=root)
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, _MODE)
            file.write(data)
        _move_into_place(root)
    except BaseException:
        with suppress(OSError):
            os.unlink(layout.RECORD_TMP, dir_fd=root)
        raise


def _move_into_place(root: int) -> None:
    try:
        os.rename(layout.RECORD_TMP, layout.RECORD, src_dir_fd=root, dst_dir_fd=root)
    except IsADirectoryError:
        entries.remove(root, layout.RECORD)
        os.rename(layout.RECORD_TMP, layout.RECORD, src_dir_fd=root, dst_dir_fd=root)
