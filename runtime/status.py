"""Each role serves its status as JSON on a Unix socket (mode 0700) in a directory private to the container.

The probe reads these sockets for /readyz, /status and the status page. Each connection receives one JSON object and is
closed. A status contains no secret, token or volume attribute.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from runtime import logs, sockets
from runtime.errors import ConfigurationError

Snapshot = Callable[[], Mapping[str, Any]]
DEFAULT_DIRECTORY = "/tmp/secrets-store-csi"
MAX_STATUS_BYTES = 8 * 1024 * 1024

log = logs.get(__name__)


def socket_path(directory: str, role: str) -> Path:
    """Where ``role`` serves its status."""
    return Path(directory) / f"{role}.status.sock"


@asynccontextmanager
async def serve(directory: str, role: str, snapshot: Snapshot) -> AsyncIterator[None]:
    """Serve ``snapshot()`` for as long as the context lasts; an empty ``directory`` turns this off.

    If the status cannot be served (on a read-only root file system), that is one warning: no role may fail because its
    status is not visible.
    """
    if not directory:
        yield
        return
    try:
        server, bound = await _listen(socket_path(directory, role), snapshot)
    except (ConfigurationError, OSError) as error:
        log.warning("This role's status is not served: see --status-directory", directory=directory, reason=error)
        yield
        return
    try:
        yield
    finally:
        bound.unlink()
        server.close()


async def _listen(path: Path, snapshot: Snapshot) -> tuple[asyncio.Server, sockets.BoundSocket]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(json.dumps(snapshot()).encode())
            await writer.drain()
        except ConnectionError:
            pass  # the reader has disconnected
        finally:
            writer.close()

    hidden = sockets.hidden_path(path)
    with sockets.private_umask():
        server = await asyncio.start_unix_server(answer, str(hidden))
    return server, sockets.move_into_place(hidden, path)


async def read(directory: str, role: str, seconds: float = 1.0) -> dict[str, Any] | None:
    """The role's status. None if it is not running (or a Go program runs in its place), does not answer within
    ``seconds``, or answers anything but a JSON object."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(
                os.fspath(socket_path(directory, role)), limit=MAX_STATUS_BYTES
            )
            try:
                found = json.loads(await reader.read(-1))
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError) as error:
        log.verbose(5, "A role does not serve its status", role=role, reason=repr(error))
        return None
    return found if isinstance(found, dict) else None
