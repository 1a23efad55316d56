"""Secrets from a directory of files: an object's name is its path below the directory.

Symlinks are followed only as long as they stay inside (a mounted Kubernetes Secret is made of such links); what was
opened is checked, not what was asked for, so that a link swapped in between gains nothing.
"""

import errno
import os
import stat
from pathlib import Path

from provider_kit import ConfigurationError, Failure, InvalidRequest, NotFound, PermissionDenied, ResourceExhausted

LARGEST_SECRET = 16 * 1024 * 1024
_NO_FILE = "{} is no file in the secrets directory: name a file, with its path"


class Directory:
    """The store; ``root`` must exist from the start, its content may change at any time."""

    def __init__(self, root: str) -> None:
        if not Path(root).is_dir():
            raise ConfigurationError(
                f"the secrets directory {root} does not exist: create it, or mount it into the container"
            )
        self._root = root

    def read(self, name: str, version: str = "") -> bytes:
        """The content now; a ``version`` other than the latest is the file ``<name>@<version>``."""
        wanted = f"{name}@{version}" if version else name
        what = f"the secret {name!r}" + (f" of version {version!r}" if version else "")
        root = os.path.realpath(self._root)
        path = os.path.realpath(os.path.join(root, wanted))
        if not _inside(root, path):
            raise PermissionDenied(f"{what} leads out of the secrets directory: keep its content inside")
        try:
            # An opener's descriptor is closed if open() then finds that it leads to a directory.
            with open(path, "rb", opener=_opened) as file:
                if not _inside(root, os.readlink(f"/proc/self/fd/{file.fileno()}")):
                    raise PermissionDenied(f"{what} leads out of the secrets directory: keep its content inside")
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise InvalidRequest(_NO_FILE.format(what))
                if found.st_size > LARGEST_SECRET:
                    raise ResourceExhausted(f"{what} is larger than {LARGEST_SECRET} bytes")
                return file.read(LARGEST_SECRET)
        except OSError as error:
            raise _refusal(what, wanted, error) from None


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _inside(root: str, path: str) -> bool:
    return path.startswith(root.rstrip("/") + "/")


def _refusal(what: str, wanted: str, error: OSError) -> Failure:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(f"{what} not found: the store has no file {wanted!r}")
    if error.errno in (errno.EISDIR, errno.ENXIO):
        return InvalidRequest(_NO_FILE.format(what))
    if error.errno == errno.ENAMETOOLONG:
        return InvalidRequest(f"{what}: the name is too long")
    return PermissionDenied(f"{what} cannot be read: {error.strerror}")
