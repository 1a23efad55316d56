"""The commands as processes: the stub's, and the one that docs/providers.md shows."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from provider_stub.main import StubConfig
from provider_stub.orders import MALFORMED
from provider_stub.provider import CRASH_EXIT_CODE
from runtime.flags import flags_of
from tests.provider_stub.calling import files, mount, refused, versions

ROOT = Path(__file__).resolve().parents[2]
DOC = (ROOT / "docs/providers.md").read_text()
STUB = [sys.executable, "-m", "provider_stub.main"]


@asynccontextmanager
async def started(
    command: Sequence[str],
    socket: Path,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A provider process that serves; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *command,
        "--endpoint",
        f"unix://{socket}",
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    try:
        assert process.stderr is not None
        while line := await asyncio.wait_for(process.stderr.readline(), 20):
            if b"Serving" in line:
                break
        else:
            pytest.fail(f"{command[0]} did not serve")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def test_the_documented_provider(tmp_path: Path) -> None:
    """The code block of the guide, as it stands there, serves over a real socket; it has about 30 lines."""
    block = re.search(r"```python\n(.*?)```", DOC, re.DOTALL)
    assert block is not None and len(block.group(1).splitlines()) < 40
    script = tmp_path / "documented.py"
    script.write_text(block.group(1))
    socket = tmp_path / "environment.sock"

    async def scenario() -> None:
        environment = {"SECRET_USER": "alice", "SECRET_PASSWORD": "hunter2", "PYTHONPATH": str(ROOT)}
        async with started([sys.executable, str(script)], socket, environment) as process:
            reply = await mount(socket, names="user, password")
            assert files(reply) == {"user": b"alice", "password": b"hunter2"}
            assert set(versions(reply)) == {"user", "password"}
            assert "'nobody'" in await refused(socket, grpc.StatusCode.NOT_FOUND, names="nobody")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 10) == 0 and not socket.exists()

    asyncio.run(scenario())


def test_the_stub(tmp_path: Path) -> None:
    """The stub serves a directory, keeps its versions over a restart with a key file, and crashes where ordered."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store/a").write_text("one")
    socket = tmp_path / "stub.sock"
    command = [*STUB, "--secrets-dir", str(tmp_path / "store"), "--key-file", str(tmp_path / "key")]
    command.append("--allow-error-orders")
    objects = "[{objectName: a}, {objectName: p, generate: password}]"

    async def scenario() -> None:
        async with started(command, socket) as process:
            first = await mount(socket, objects=objects)
            assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await mount(socket, stubCrash="true")
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            assert await asyncio.wait_for(process.wait(), 10) == CRASH_EXIT_CODE and socket.is_socket()
        async with started(command, socket):
            assert await mount(socket, objects=objects) == first

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "arguments, code, phrase",
    [
        (["--endpoint", "tcp://:1"], 1, "Unix socket"),
        (["--nonsense"], 2, "not defined"),
        (["--endpoint", "unix:///tmp/x.sock", "--secrets-dir", "/does/not/exist"], 1, "does not exist"),
    ],
)
def test_bad_command_lines(arguments: list[str], code: int, phrase: str) -> None:
    """A start that cannot work ends with one sentence and an exit code."""
    done = subprocess.run([*STUB, *arguments], capture_output=True, text=True, timeout=20, cwd=ROOT)
    assert done.returncode == code and phrase in done.stderr and "Traceback" not in done.stderr


def test_the_guide_is_complete() -> None:
    """Every flag of the stub and every kind of malformed reply stands in the guide; defaults are pinned."""
    for item in flags_of(StubConfig):
        assert f"`{'-' if len(item.name) == 1 else '--'}{item.name}`" in DOC, item.name
    for kind in MALFORMED:
        assert f"`{kind}`" in DOC, kind
    config = StubConfig()
    assert (config.secrets_dir, config.key_file, config.allow_error_orders) == ("", "", False)
