"""Turns errors of the operating system into failures whose text may be shown to users."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.errors import Failure, Internal, ResourceExhausted

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_HINTS = {
    errno.EROFS: "it is read-only; remount it writable on the node",
    errno.EPERM: "the driver must run privileged, in kubelet's mount propagation",
    errno.EACCES: "the driver must run privileged, in kubelet's mount propagation",
    errno.EBUSY: "a process on the node still uses it",
    errno.ENOMEM: "the node is out of memory",
}


@contextmanager
def os_errors_as(message: str) -> Iterator[None]:
    """Raise any OSError of the block as a Failure whose text begins with ``message``."""
    try:
        yield
    except OSError as error:
        raise failure_of(message, error) from error


def failure_of(message: str, error: OSError) -> Failure:
    """The Failure for ``error``, with strerror(3)'s text: that of the OSError itself may contain any path."""
    reason = os.strerror(error.errno) if error.errno else "unknown error"
    if error.errno in _NO_SPACE:
        return ResourceExhausted(
            f"{message}: {reason}: the tmpfs is full, as it must hold the old and the new content at once; "
            "raise --tmpfs-size, or --max-volume-entries if it has run out of inodes"
        )
    hint = _HINTS.get(error.errno or 0)
    return Internal(f"{message}: {reason}" + (f": {hint}" if hint else ""))
