"""Each role serves its status as JSON on a Unix socket (mode 0700) in a directory private to the container.

The probe reads these sockets for /readyz, /status and the status page. Each connection receives one JSON object and is
closed. A status contains no secret, token or volume attribute.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from runtime import logs, sockets
from runtime.errors import ConfigurationError

Snapshot = Callable[[], Mapping[str, Any]]
DEFAULT_DIRECTORY = "/tmp/secrets-store-csi"
MAX_STATUS_BYTES = 8 * 1024 * 1024
CHECK_SECONDS = 5.0

log = logs.get(__name__)


def socket_path(directory: str, role: str) -> Path:
    """Where ``role`` serves its status."""
    return Path(directory) / f"{role}.status.sock"


@asynccontextmanager
async def serve(directory: str, role: str, snapshot: Snapshot) -> AsyncIterator[None]:
    """Serve ``snapshot()`` for as long as the context lasts; an empty ``directory`` turns this off.

    If the status cannot be served (on a read-only root file system, or a full one), that is one warning: no role may
    fail because its status is not visible. It is tried again every CHECK_SECONDS, and a socket that somebody has
    deleted is made again.
    """
    if not directory:
        yield
        return
    server = _StatusServer(socket_path(directory, role), snapshot)
    await server.ensure()
    keeper = asyncio.create_task(server.keep())
    try:
        yield
    finally:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
        await server.close()


class _StatusServer:
    """The socket at ``path``, made again when it is missing."""

    def __init__(self, path: Path, snapshot: Snapshot) -> None:
        self._path = path
        self._snapshot = snapshot
        self._server: asyncio.Server | None = None
        self._bound: sockets.BoundSocket | None = None
        self._problem = ""

    async def keep(self) -> None:
        """Look after the socket, for ever."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.ensure()

    async def ensure(self) -> None:
        """Serve if nobody serves the path. What somebody else has put there since, and serves, is left alone."""
        if self._in_place():
            return
        deleted = self._bound is not None
        await self.close()
        try:
            await self._listen()
        except (ConfigurationError, OSError) as error:
            if str(error) != self._problem:
                self._problem = str(error)
                log.warning(
                    "This role's status is not served: see --status-directory",
                    directory=self._path.parent,
                    reason=error,
                )
            return
        if deleted or self._problem:
            log.info("This role's status is served again", socket=self._path)
        self._problem = ""

    def _in_place(self) -> bool:
        return self._bound is not None and (self._bound.is_ours() or not sockets.why_not_served(self._path))

    async def close(self) -> None:
        """Serve no longer, and remove the socket if it is still ours."""
        server, bound = self._server, self._bound
        self._server = self._bound = None
        if bound is not None:
            bound.unlink()
        if server is not None:
            await sockets.close_listener(server)

    async def _listen(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        hidden = sockets.hidden_path(self._path)
        try:
            with sockets.private_umask():
                self._server = await asyncio.start_unix_server(self._answer, str(hidden))
            self._bound = sockets.move_into_place(hidden, self._path)
        except BaseException:
            hidden.unlink(missing_ok=True)
            raise

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(json.dumps(self._snapshot()).encode())
            await writer.drain()
        except ConnectionError:
            pass  # the reader has disconnected
        finally:
            writer.close()


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
