"""A provider served inside a test, its calls recorded.

async with running(LabProvider(), directory / "lab.sock") as lab:
    …
    assert lab.calls == 1
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from protos import provider_pb2
from provider_kit.provider import Provider
from provider_kit.reply import MountReply
from provider_kit.request import MountRequest
from provider_kit.serving import Server, serve


class RunningProvider:
    """A provider that is being served at ``path``; it records every Mount request that could be decoded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[MountRequest] = []
        self._recorded = asyncio.Condition()
        self._server: Server | None = None

    @property
    def calls(self) -> int:
        """How many Mount requests were recorded."""
        return len(self.requests)

    @property
    def last_request(self) -> MountRequest | None:
        """The latest request; None before the first."""
        return self.requests[-1] if self.requests else None

    async def wait_for_calls(self, number: int) -> None:
        """Wait until ``number`` requests were recorded; bring your own timeout."""
        async with self._recorded:
            await self._recorded.wait_for(lambda: self.calls >= number)

    async def record(self, request: MountRequest) -> None:
        """Add a request, from the moment it arrives."""
        async with self._recorded:
            self.requests.append(request)
            self._recorded.notify_all()

    def crash(self) -> None:
        """Break off all calls and leave the dead socket behind, as a killed process does."""
        if self._server is not None:
            self._server.crash()

    @asynccontextmanager
    async def serving(self, provider: Provider) -> AsyncIterator[None]:
        """Serve ``provider`` inside the context."""
        async with serve(_Recording(provider, self), f"unix://{self.path.absolute()}") as self._server:
            yield


class _Recording(Provider):
    """Records each request before it passes it on."""

    def __init__(self, inner: Provider, running: RunningProvider) -> None:
        self.name, self.version = inner.name, inner.version
        self._inner, self._running = inner, running

    async def mount(self, request: MountRequest) -> MountReply | provider_pb2.MountResponse:
        await self._running.record(request)
        return await self._inner.mount(request)

    async def close(self) -> None:
        await self._inner.close()


@asynccontextmanager
async def running(provider: Provider, socket: str | Path) -> AsyncIterator[RunningProvider]:
    """Serve ``provider`` on ``socket`` inside the context."""
    running = RunningProvider(Path(socket))
    async with running.serving(provider):
        yield running
