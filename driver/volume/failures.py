"""What the system refused, as the Failure that the caller may show."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from runtime.errors import Failure, Internal, ResourceExhausted

_FULL = (errno.ENOSPC, errno.EDQUOT)
_HINTS = {
    errno.EROFS: "it is read-only; remount it writable on the node",
    errno.EPERM: "the driver must run privileged, in kubelet's mount propagation",
    errno.EACCES: "the driver must run privileged, in kubelet's mount propagation",
    errno.EBUSY: "a process on the node still uses it",
    errno.ENOMEM: "the node is out of memory",
}


@contextmanager
def told_as(doing: str) -> Iterator[None]:
    """Raise an OSError of the block as a Failure whose sentence begins with ``doing``."""
    try:
        yield
    except OSError as error:
        raise translated(doing, error) from error


def translated(doing: str, error: OSError) -> Failure:
    """The Failure for ``error``, in the system's own words: an OSError's text may hold a path not of our choice."""
    reason = os.strerror(error.errno) if error.errno else "unknown error"
    if error.errno in _FULL:
        return ResourceExhausted(
            f"{doing}: {reason}: the tmpfs is full (old and new content lie in it side by side); raise --tmpfs-size"
        )
    hint = _HINTS.get(error.errno or 0)
    return Internal(f"{doing}: {reason}" + (f": {hint}" if hint else ""))
