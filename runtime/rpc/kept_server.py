"""A gRPC server whose Unix socket others may remove or replace while it runs.

kubelet dials the path for each call. If the path leads nowhere, no pod on the node gets a volume, although every
connection that exists already goes on working, so that the process looks healthy. That happens when somebody cleans up
the directory, and in a surge roll-out that is taken back: the second pod replaces the first one's socket, and removes
its own when it stops. The steps:

 1. Wait for a change in the directory. A socket whose process was killed stays there, so the path is also looked at
    from time to time.
 2. The path leads to our socket: done. It leads to one that another process serves: the one that started last wins, so
    leave it alone.
 3. Otherwise start another server on a new socket at the path, with the same services. What the old one has begun goes
    on to its end; its other clients are told to connect again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runtime import logs
from runtime.directories import Directories
from runtime.endpoints import Endpoint, UnixEndpoint
from runtime.errors import ConfigurationError
from runtime.rpc.server import GRACE_SECONDS, MAX_MESSAGE_BYTES, Register, RunningServer, start
from runtime.sockets import why_not_served

log = logs.get(__name__)

# How often the path is looked at while inotify reports changes and the socket is ours, while it is not ours, and while
# it cannot be served.
IDLE_SECONDS, POLL_SECONDS, RETRY_SECONDS = 60.0, 5.0, 1.0
# kubelet gives up a call after two minutes (csiTimeout in
# https://github.com/kubernetes/kubernetes/blob/master/pkg/volume/csi/csi_plugin.go).
LONGEST_CALL_SECONDS = 180.0


class KeptServer:
    """The server at ``endpoint``; ``keep`` must run for as long as it is served."""

    def __init__(self, endpoint: Endpoint, register: Register, max_message_bytes: int) -> None:
        self._endpoint, self._register, self._max_message_bytes = endpoint, register, max_message_bytes
        self._current: RunningServer | None = None
        self._retired: dict[RunningServer, asyncio.Task[None]] = {}
        self._reported = ""

    async def open(self) -> None:
        """Serve. Raises as ``rpc.serve``."""
        self._current = await start(self._endpoint, self._register, self._max_message_bytes)

    async def close(self) -> None:
        """Remove the socket if it is ours; calls that are still running have GRACE_SECONDS to finish."""
        stopping = [
            asyncio.create_task(server.stop(GRACE_SECONDS)) for server in (*self._retired, self._current) if server
        ]
        await asyncio.gather(*stopping, *self._retired.values())

    async def keep(self) -> None:
        """Look after the socket until cancelled; returns at once for TCP."""
        if not isinstance(self._endpoint, UnixEndpoint):
            return
        path = Path(self._endpoint.path)
        directories = Directories(str(path.parent))
        async with directories.watched():
            while True:
                await directories.wait_for_change(await self._ensure(path, directories.all_watched))

    async def _ensure(self, path: Path, watched: bool) -> float:
        """Steps 2 and 3; returns after how many seconds to look again if there is no change."""
        assert self._current is not None and self._current.bound is not None
        if self._current.bound.is_ours():
            self._reported = ""
            return IDLE_SECONDS if watched else POLL_SECONDS
        if not why_not_served(path):
            self._report("Another process has taken over the socket; standing by", path)
            return POLL_SECONDS
        try:
            server = await start(self._endpoint, self._register, self._max_message_bytes)
        except (ConfigurationError, OSError) as error:
            self._report("The socket was removed and cannot be served again; trying on", path, str(error))
            return RETRY_SECONDS
        old, self._current = self._current, server
        self._retired[old] = asyncio.create_task(old.stop(LONGEST_CALL_SECONDS))
        self._retired[old].add_done_callback(lambda _: self._retired.pop(old, None))
        log.warning("The socket was removed or replaced; serving it again", socket=path)
        return POLL_SECONDS

    def _report(self, text: str, path: Path, reason: str = "") -> None:
        """Log each new problem once."""
        if self._reported != text + reason:
            self._reported = text + reason
            log.warning(text, socket=path, reason=reason)


@asynccontextmanager
async def serve_kept(
    endpoint: Endpoint, register: Register, max_message_bytes: int = MAX_MESSAGE_BYTES
) -> AsyncIterator[KeptServer]:
    """As ``serve``, with a server whose ``keep`` the caller runs."""
    server = KeptServer(endpoint, register, max_message_bytes)
    await server.open()
    try:
        yield server
    finally:
        await server.close()
