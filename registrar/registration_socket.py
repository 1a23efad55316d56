"""The socket on which kubelet's plugin watcher finds the registrar."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from registrar.service import RegistrationService
from runtime import rpc
from runtime.endpoints import UnixEndpoint
from runtime.errors import ConfigurationError
from runtime.sockets import BoundSocket, why_not_served


def socket_path(directory: str, driver: str) -> Path:
    """The path of a driver's registration socket in kubelet's directory."""
    return Path(directory) / f"{driver}-reg.sock"


@contextlib.asynccontextmanager
async def serve(path: Path, service: RegistrationService) -> AsyncIterator[BoundSocket]:
    """Serve ``service`` at ``path`` for as long as the context lasts. Raises ConfigurationError or OSError if that is
    not possible."""
    _check_writable(path.parent)
    async with rpc.serve(UnixEndpoint(str(path)), service.register) as bound:
        assert bound is not None  # it is only None for TCP
        yield bound


def _check_writable(directory: Path) -> None:
    if directory.is_dir() and not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{directory} is not writable: mount it read-write, for the user of this process")


def is_live(path: Path) -> bool:
    """Whether a process serves the socket at ``path``; the socket of a dead process is only a file."""
    return not why_not_served(path)
