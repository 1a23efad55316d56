"""Unix sockets of servers: bound under a hidden name, moved into place, removed only while they are still ours.

A server binds a hidden path beside the final one and renames it. So the socket appears complete and with its final
mode, it replaces a stale one in one step, and gRPC's own clean-up, which unlinks the path that it has bound, never
removes a successor's socket. At exit the final path is unlinked only if it still leads to the inode that we bound.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ConfigurationError

# sun_path of struct sockaddr_un holds 108 bytes including the terminating zero (unix(7)).
MAX_PATH_BYTES = 107


@dataclass(frozen=True)
class BoundSocket:
    """A socket that this process has bound at ``path``, identified by its device and inode.

    File systems reuse the numbers of deleted inodes, so the time of the bind (``st_mtime_ns``) is compared too.
    """

    path: Path
    device: int
    inode: int
    bound_at: int

    def is_ours(self) -> bool:
        """Whether the path still leads to the socket that we bound."""
        try:
            found = os.lstat(self.path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino, found.st_mtime_ns) == (self.device, self.inode, self.bound_at)

    def unlink(self) -> bool:
        """Remove the socket if it is still ours; returns whether it was."""
        if not self.is_ours():
            return False
        self.path.unlink(missing_ok=True)
        return True


@contextmanager
def private_umask() -> Iterator[None]:
    """umask 0077 around a bind, restored afterwards: a socket gets its mode when it is bound."""
    previous = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(previous)


def refuse_non_socket(path: Path) -> None:
    """Raise ConfigurationError if the path holds anything but a socket, and leave that untouched."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigurationError(f"{path} exists and is not a socket: move it away or choose another path")


def hidden_path(path: Path) -> Path:
    """An unused path in the same directory for the bind; watchers of socket directories ignore names with a leading
    dot. Raises ConfigurationError if no socket can be bound there."""
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ConfigurationError(
            f"{path} is longer than {MAX_PATH_BYTES} bytes, the limit for a socket's path: use a shorter directory"
        )
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"the directory {path.parent} does not exist: create it, or mount it into the container"
        )
    refuse_non_socket(path)
    return path.parent / f".{secrets.token_hex(3)}"


def move_into_place(hidden: Path, path: Path) -> BoundSocket:
    """Rename the bound socket to its final path, replacing a stale socket there."""
    found = os.lstat(hidden)
    refuse_non_socket(path)
    os.rename(hidden, path)
    return BoundSocket(path, found.st_dev, found.st_ino, found.st_mtime_ns)
