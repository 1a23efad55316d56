"""Unix sockets of servers: bound under a hidden name, moved into place, removed only while they are still ours.

A server binds a hidden path beside the final one and renames it. So the socket appears complete and with its final
mode, it replaces a stale one in one step, and gRPC's own clean-up, which unlinks the path that it has bound, never
removes a successor's socket. At exit the final path is unlinked only if it still leads to the inode that we bound.
"""

import asyncio
import os
import secrets
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runtime.errors import ConfigurationError

# sun_path of struct sockaddr_un holds 108 bytes including the terminating zero (unix(7)).
MAX_PATH_BYTES = 107
# Of the event loop, from accept() to connection_made().
_ITERATIONS_TO_ACCEPT = 3


Identity = tuple[int, int, int]
"""Device, inode and time of the bind of a socket: file systems reuse the numbers of deleted inodes."""


class BoundSocket(NamedTuple):
    """A socket that this process has bound at ``path``."""

    path: Path
    identity: Identity

    def is_ours(self) -> bool:
        """Whether the path still leads to the socket that we bound, even if somebody has touched it since."""
        try:
            found = _identity(os.lstat(self.path))
        except OSError:
            return False
        return found == self.identity or found[:2] == self.identity[:2] and _is_served_here(self.path)

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
    """Rename the bound socket to its final path, replacing a stale socket there. Raises ConfigurationError if there is
    anything but a socket, or if somebody has removed the bound one meanwhile."""
    refuse_non_socket(path)
    try:
        found = os.lstat(hidden)
        os.rename(hidden, path)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {path}: {error.strerror or error}; is something else removing files in its directory?"
        ) from None
    return BoundSocket(path, _identity(found))


def identity(path: str | Path) -> Identity | None:
    """Which file a path leads to now; None if it leads to none."""
    try:
        return _identity(os.stat(path))
    except OSError:
        return None


def why_not_served(path: str | Path) -> str:
    """Why no process accepts connections on a socket, as a sentence with its path; empty if one does, even if it is too
    busy to do so now. Connecting to a Unix socket never waits."""
    try:
        with socket.socket(socket.AF_UNIX) as client:  # for which there may be no descriptor left
            client.setblocking(False)
            client.connect(os.fspath(path))
    except BlockingIOError:  # so many connections wait already that the kernel takes no more
        return ""
    except ConnectionRefusedError:
        return f"nobody listens on {path}"
    except OSError as error:
        return f"{path} cannot be connected to: {error.strerror or error}"
    return ""


def bind_all_addresses(port: int) -> socket.socket:
    """One socket for IPv4 and IPv6, so that port 0 gives the same port for both."""
    dual_stack = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual_stack else socket.AF_INET
    return socket.create_server(("", port), family=family, dualstack_ipv6=dual_stack)


def _is_served_here(path: Path) -> bool:
    """Whether it is this process that accepts connections on a socket."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            client.connect(os.fspath(path))
            pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        return False
    return bool(pid == os.getpid())


def _identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino, found.st_mtime_ns


async def close_listener(server: asyncio.Server) -> None:
    """Close a server's listening sockets. A connection that the loop is accepting at that moment would stay open and be
    nobody's (https://github.com/python/cpython/issues/109564), so it is let in before."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    try:
        for _ in range(_ITERATIONS_TO_ACCEPT):
            await asyncio.sleep(0)
    finally:
        server.close()
