"""The stub served inside another process, for example a test of a driver.

async with running(directory / "stub.sock", secrets) as stub:
    stub.put("password", "s3cret")
    …
    assert stub.calls == 1
"""

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from provider_kit import Versions
from provider_kit.testing import RunningProvider
from provider_stub.provider import StubProvider
from provider_stub.store import Directory


class RunningStub(RunningProvider):
    """A stub that is being served, with its secrets directory."""

    def __init__(self, path: Path, secrets_dir: Path | None) -> None:
        super().__init__(path)
        self._secrets_dir = secrets_dir

    def put(self, name: str, contents: str | bytes) -> None:
        """Store a secret, new or changed; a concurrent reader sees the old or the new content, never a mixture."""
        path = self._file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        draft.write_bytes(contents.encode() if isinstance(contents, str) else contents)
        os.replace(draft, path)

    def remove(self, name: str) -> None:
        """Remove a secret from the store."""
        self._file(name).unlink()

    def _file(self, name: str) -> Path:
        if self._secrets_dir is None:
            raise ValueError("this stub runs without a secrets directory")
        return self._secrets_dir / name


@asynccontextmanager
async def running(
    socket: str | Path,
    secrets_dir: str | Path | None = None,
    *,
    allow_error_orders: bool = True,
    key: bytes | None = None,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[RunningStub]:
    """Serve the stub on ``socket`` inside the context; its parameters are those of the command."""
    running = RunningStub(Path(socket), Path(secrets_dir) if secrets_dir is not None else None)
    store = Directory(str(secrets_dir)) if secrets_dir is not None else None
    provider = StubProvider(store, Versions(key), allow_error_orders=allow_error_orders, crash=running.crash, now=now)
    async with running.serving(provider):
        yield running
