"""Status sockets: one JSON object for each connection, for root only."""

import asyncio
import logging
import stat
import time
from pathlib import Path

import pytest

from runtime import status


def test_served_and_read(tmp_path: Path) -> None:
    """A role serves its status → it can be read; socket and directory have mode 0700; the socket is gone with the
    role."""

    async def run() -> None:
        directory = tmp_path / "status"
        async with status.serve(str(directory), "driver", lambda: {"role": "driver", "volumes": [1] * 50_000}):
            found = await status.read(str(directory), "driver")
            assert found is not None and found["role"] == "driver" and len(found["volumes"]) == 50_000
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            assert stat.S_IMODE(status.socket_path(str(directory), "driver").stat().st_mode) == 0o700
        assert await status.read(str(directory), "driver") is None

    asyncio.run(run())


def test_absent_frozen_and_broken_roles(tmp_path: Path) -> None:
    """A role is absent, does not answer in time or sends something else than JSON → None."""

    async def run() -> None:
        assert await status.read(str(tmp_path), "driver") is None
        release = asyncio.Event()

        async def frozen(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.close()

        server = await asyncio.start_unix_server(frozen, str(status.socket_path(str(tmp_path), "driver")))
        started = time.monotonic()
        assert await status.read(str(tmp_path), "driver", seconds=0.2) is None
        assert time.monotonic() - started < 1.0
        release.set()
        server.close()

        async def broken(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"no json")
            writer.close()

        server = await asyncio.start_unix_server(broken, str(status.socket_path(str(tmp_path), "probe")))
        assert await status.read(str(tmp_path), "probe") is None
        server.close()

    asyncio.run(run())


@pytest.mark.parametrize("directory", ["/proc/nowhere", "/dev/null/under", "/tmp/" + "x" * 100])
def test_unusable_directory(directory: str, caplog: pytest.LogCaptureFixture) -> None:
    """A read-only file system, a file instead of a directory, or a path too long for a socket → one warning, and the
    role runs."""

    async def run() -> None:
        async with status.serve(directory, "driver", dict):
            assert await status.read(directory, "driver") is None

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == [
        "This role's status is not served: see --status-directory"
    ]


def test_off(tmp_path: Path) -> None:
    """``--status-directory=`` → nothing is served."""

    async def run() -> None:
        async with status.serve("", "driver", dict):
            assert list(tmp_path.iterdir()) == []

    asyncio.run(run())
