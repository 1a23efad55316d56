"""Hygiene of Unix sockets: bound in private, moved into place, removed only while they are still ours.

A server binds a hidden name beside the wanted one and renames it there. So the socket appears complete and with its
final mode, it replaces a stale one in one step, and gRPC's own clean-up, which unlinks by name, never takes a
successor's socket away. At exit the wanted name is unlinked only if its device and inode are those that we bound.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ConfigurationError

# sun_path of struct sockaddr_un holds 108 bytes with its terminating zero (unix(7)).
MAX_PATH_BYTES = 107


@dataclass(frozen=True)
class BoundSocket:
    """A socket that this process has put at ``path``, known by its device and inode.

    File systems give the number of an inode that is gone to the next one, so the time of the bind is looked at too.
    """

    path: Path
    device: int
    inode: int
    bound_at: int

    def is_ours(self) -> bool:
        """Whether the name still leads to the socket that we bound."""
        try:
            found = os.lstat(self.path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino, found.st_mtime_ns) == (self.device, self.inode, self.bound_at)

    def unlink(self) -> bool:
        """Remove the name if it is still ours; tells whether it was."""
        if not self.is_ours():
            return False
        self.path.unlink(missing_ok=True)
        return True


@contextmanager
def private_umask() -> Iterator[None]:
    """umask 0077 around a bind, restored after: a socket's mode is decided when it is bound."""
    previous = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(previous)


def refuse_non_socket(path: Path) -> None:
    """A path that holds anything but a socket is left untouched and refused."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigurationError(f"{path} exists and is no socket: move it away or choose another path")


def hidden_path(path: Path) -> Path:
    """A free name in the same directory for the bind; watchers of socket directories pass over names with a leading
    dot."""
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ConfigurationError(
            f"{path} is longer than the {MAX_PATH_BYTES} bytes that a socket's path may have: use a shorter directory"
        )
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"the directory {path.parent} does not exist: create it, or mount it into the container"
        )
    refuse_non_socket(path)
    return path.parent / f".{secrets.token_hex(3)}"


def move_into_place(hidden: Path, path: Path) -> BoundSocket:
    """Give the bound socket its wanted name, in place of a stale one."""
    found = os.lstat(hidden)
    refuse_non_socket(path)
    os.rename(hidden, path)
    return BoundSocket(path, found.st_dev, found.st_ino, found.st_mtime_ns)
