"""The stub as a process, and its page of the guide."""

import asyncio
import subprocess
import sys
from pathlib import Path

import grpc
import grpc.aio
import pytest

from provider_stub.main import StubConfig
from provider_stub.orders import MALFORMED
from provider_stub.provider import CRASH_EXIT_CODE
from runtime.flags import flags_of
from tests.support.provider_calls import ROOT, mount, started

DOC = (ROOT / "docs/providers.md").read_text()
STUB = [sys.executable, "-m", "provider_stub.main"]


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
    assert config.endpoint == "unix:///var/run/secrets-store-csi-providers/stub.sock"
    assert (config.secrets_dir, config.key_file, config.allow_error_orders) == ("", "", False)
