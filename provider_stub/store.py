"""Secrets from a directory of files: an object's name is its path in the directory.

Symlinks are followed only inside the directory (a mounted Kubernetes Secret consists of such links). The check is
repeated on the opened file, so that replacing a link in between gains nothing.
"""

import errno
import os
import stat
from pathlib import Path

from provider_kit import ConfigurationError, Failure, InvalidRequest, NotFound, PermissionDenied, ResourceExhausted

MAX_SECRET_BYTES = 16 * 1024 * 1024
_NOT_A_FILE = "{} is not a file in the secrets directory: give the path of a file"


class Directory:
    """The store in the directory ``root``, which must exist at the start; its content may change at any time."""

    def __init__(self, root: str) -> None:
        if not Path(root).is_dir():
            raise ConfigurationError(
                f"the secrets directory {root} does not exist: create it, or mount it into the container"
            )
        self._root = root

    def read(self, name: str, version: str = "") -> bytes:
        """The current content of a secret, or of its ``version``, which is the file ``<name>@<version>``.

        Raises NotFound, PermissionDenied (also for what leads out of the directory), InvalidRequest for what is not a
        file, and ResourceExhausted for a file that is too large.
        """
        file_name = f"{name}@{version}" if version else name
        what = f"version {version!r} of secret {name!r}" if version else f"secret {name!r}"
        root = os.path.realpath(self._root)
        path = os.path.realpath(os.path.join(root, file_name))
        if not _inside(root, path):
            raise PermissionDenied(f"{what} leads out of the secrets directory: store its content inside")
        try:
            # With an opener, open() closes the descriptor if it turns out to be a directory.
            with open(path, "rb", opener=_open) as file:
                if not _inside(root, os.readlink(f"/proc/self/fd/{file.fileno()}")):
                    raise PermissionDenied(f"{what} leads out of the secrets directory: store its content inside")
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise InvalidRequest(_NOT_A_FILE.format(what))
                if status.st_size > MAX_SECRET_BYTES:
                    raise ResourceExhausted(f"{what} is larger than {MAX_SECRET_BYTES} bytes")
                return file.read(MAX_SECRET_BYTES)
        except OSError as error:
            raise _failure(what, file_name, error) from None


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _inside(root: str, path: str) -> bool:
    return path.startswith(root.rstrip("/") + "/")


def _failure(what: str, file_name: str, error: OSError) -> Failure:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFound(f"{what} not found: the secrets directory has no file {file_name!r}")
    if error.errno in (errno.EISDIR, errno.ENXIO):
        return InvalidRequest(_NOT_A_FILE.format(what))
    if error.errno == errno.ENAMETOOLONG:
        return InvalidRequest(f"{what}: the name is too long")
    return PermissionDenied(f"{what} cannot be read: {error.strerror}")
