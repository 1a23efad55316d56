"""The stub inside another process: for tests of a driver, and whoever wants a provider for the length of a block.

async with running(directory / "stub.sock", secrets) as stub:
    stub.put("password", "s3cret")
    …
    assert stub.calls == 1
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from protos import provider_pb2
from provider_stub.kit import MountReply, MountRequest, Provider, Serving, Versions, served
from provider_stub.provider import StubProvider
from provider_stub.store import Directory


class RunningProvider:
    """A provider that is being served; counts its calls from the moment they arrive."""

    def __init__(self, path: Path, secrets_dir: Path | None) -> None:
        self.path = path
        self.requests: list[MountRequest] = []
        self._secrets_dir = secrets_dir
        self._changed = asyncio.Condition()
        self._serving: Serving | None = None

    @property
    def calls(self) -> int:
        """How many Mount calls came in and could be read."""
        return len(self.requests)

    @property
    def last_request(self) -> MountRequest | None:
        """The latest of them."""
        return self.requests[-1] if self.requests else None

    async def wait_for_calls(self, number: int) -> None:
        """Until ``number`` calls have come in; put your own timeout around it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.calls >= number)

    def put(self, name: str, contents: str | bytes) -> None:
        """Store a secret, new or changed; a reader sees the old or the new one."""
        path = self._file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        draft.write_bytes(contents.encode() if isinstance(contents, str) else contents)
        os.replace(draft, path)

    def remove(self, name: str) -> None:
        """Take a secret out of the store."""
        self._file(name).unlink()

    def crash(self) -> None:
        """Break off all calls and leave the dead socket behind, as a killed process does."""
        if self._serving is not None:
            self._serving.cut()

    def _file(self, name: str) -> Path:
        if self._secrets_dir is None:
            raise ValueError("this provider runs without a secrets directory")
        return self._secrets_dir / name

    async def _record(self, request: MountRequest) -> None:
        async with self._changed:
            self.requests.append(request)
            self._changed.notify_all()


class _Recording(Provider):
    def __init__(self, inner: Provider, record: RunningProvider) -> None:
        self.name, self.version = inner.name, inner.version
        self._inner, self._record = inner, record

    async def mount(self, request: MountRequest) -> MountReply | provider_pb2.MountResponse:
        await self._record._record(request)
        return await self._inner.mount(request)


@asynccontextmanager
async def running(
    socket: str | Path,
    secrets_dir: str | Path | None = None,
    *,
    allow_error_orders: bool = True,
    key: bytes | None = None,
    now: Callable[[], float] = time.time,
    provider: Provider | None = None,
) -> AsyncIterator[RunningProvider]:
    """Serve the stub, or ``provider`` in its place, on ``socket`` for as long as the context lasts."""
    running = RunningProvider(Path(socket), Path(secrets_dir) if secrets_dir is not None else None)
    if provider is None:
        store = Directory(str(secrets_dir)) if secrets_dir is not None else None
        provider = StubProvider(
            store, Versions(key), allow_error_orders=allow_error_orders, crash=running.crash, now=now
        )
    async with served(_Recording(provider, running), f"unix://{Path(socket).absolute()}") as serving:  # noqa: ASYNC240
        running._serving = serving
        yield running
