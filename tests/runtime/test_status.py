"""Status sockets: one JSON object for each connection, for root only."""

import asyncio
import logging
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime import status
from tests.support.waiting import until


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


@pytest.mark.parametrize("iterations", range(5))
def test_a_reader_at_the_moment_of_the_end(tmp_path: Path, iterations: int) -> None:
    """A reader connects just before the role ends, so many iterations of the event loop → it has the whole status, or
    the connection is closed; it does not wait for what never comes."""

    async def run() -> None:
        with socket.socket(socket.AF_UNIX) as reader:
            async with status.serve(str(tmp_path), "driver", lambda: {"role": "driver"}):
                reader.connect(str(status.socket_path(str(tmp_path), "driver")))
                for _ in range(iterations):
                    await asyncio.sleep(0)
            reader.setblocking(False)
            async with asyncio.timeout(5.0):
                try:
                    found = await asyncio.get_running_loop().sock_recv(reader, 1000)
                except ConnectionResetError:
                    found = b""
        assert found in (b"", b'{"role": "driver"}')

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
        assert time.monotonic() - started < 10.0
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


def delete_socket(directory: Path) -> None:
    status.socket_path(str(directory), "driver").unlink()


def delete_directory(directory: Path) -> None:
    shutil.rmtree(directory)


def empty_temporary_files(directory: Path) -> None:
    """As a cleaner of /tmp does, which removes files and keeps directories."""
    for path in directory.rglob("*"):
        path.unlink()


def replace_by_a_dead_socket(directory: Path) -> None:
    """As a second driver does that is killed then."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(f"{directory}/.other")
    (directory / ".other").rename(status.socket_path(str(directory), "driver"))


@pytest.mark.parametrize("damage", [delete_socket, delete_directory, empty_temporary_files, replace_by_a_dead_socket])
def test_deleted_sockets_are_made_again(
    tmp_path: Path, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody deletes the socket, its directory, or all files below, or leaves a dead socket there → the status can be
    read again soon, for root only, and nothing is left at the end."""
    monkeypatch.setattr(status, "CHECK_SECONDS", 0.05)
    directory = tmp_path / "status"

    async def run() -> None:
        async with status.serve(str(directory), "driver", lambda: {"role": "driver"}):
            damage(directory)
            assert await status.read(str(directory), "driver") is None
            await until(lambda: status.read(str(directory), "driver"), "the status")
            assert stat.S_IMODE(status.socket_path(str(directory), "driver").stat().st_mode) == 0o700
        assert list(directory.iterdir()) == []

    asyncio.run(run())


def test_a_full_disk_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The role starts while the file system has no inode left → one warning; when there is room the status is
    served."""
    monkeypatch.setattr(status, "CHECK_SECONDS", 0.05)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=3", "tmpfs", tmp_path], check=True)
    try:
        for name in ("one", "two"):
            (tmp_path / name).touch()

        async def run() -> None:
            async with status.serve(str(tmp_path), "driver", lambda: {"role": "driver"}):
                await asyncio.sleep(0.3)  # several attempts
                assert await status.read(str(tmp_path), "driver") is None
                (tmp_path / "one").unlink()
                await until(lambda: status.read(str(tmp_path), "driver"), "the status")

        with caplog.at_level(logging.INFO):
            asyncio.run(run())
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert [record.getMessage() for record in caplog.records] == [
        "This role's status is not served: see --status-directory",
        "This role's status is served again",
    ]


def test_a_socket_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has taken over the path (a second driver on the node) → the two do not fight for it, and ours
    does not remove it at its end."""
    monkeypatch.setattr(status, "CHECK_SECONDS", 0.02)
    directory = str(tmp_path)

    async def run() -> None:
        async with status.serve(directory, "driver", lambda: {"role": "first"}):
            async with status.serve(directory, "driver", lambda: {"role": "second"}):
                await asyncio.sleep(0.2)  # several checks
                assert await status.read(directory, "driver") == {"role": "second"}
            await until(lambda: status.read(directory, "driver"), "the first one, which finds its path free")
            assert await status.read(directory, "driver") == {"role": "first"}

    asyncio.run(run())
