"""Errors to order, in process."""

import asyncio
import time
from pathlib import Path

import grpc
import grpc.aio
import pytest

from provider_stub.orders import MALFORMED, OVERSIZED_BYTES
from provider_stub.running import running
from tests.support.provider_calls import files, mount, refused, versions

CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


def test_every_code(tmp_path: Path) -> None:
    """Each gRPC code can be ordered by its name."""

    async def scenario() -> None:
        async with running(tmp_path / "stub.sock") as stub:
            for code in CODES:
                await refused(stub.path, code, stubError=code.name)
            assert (await mount(stub.path, stubErrorCode="Forbidden")).error.code == "Forbidden"

    asyncio.run(scenario())


def test_not_by_default(tmp_path: Path) -> None:
    """Without the flag an order is refused and the flag named; unknown and wrong orders are INVALID_ARGUMENT."""

    async def scenario() -> None:
        async with running(tmp_path / "stub.sock", allow_error_orders=False) as stub:
            sentence = await refused(stub.path, grpc.StatusCode.PERMISSION_DENIED, stubCrash="true")
            assert "--allow-error-orders" in sentence
        async with running(tmp_path / "stub.sock") as stub:
            wrong = {"stubErorr": "X", "stubError": "OK", "stubReply": "?", "stubDelay": "x", "stubFailures": "-1"}
            for key, value in wrong.items():
                assert key in await refused(stub.path, grpc.StatusCode.INVALID_ARGUMENT, **{key: value})

    asyncio.run(scenario())


def test_failures_then_success(tmp_path: Path) -> None:
    """The first calls of each volume fail, the next works; another volume has its own count."""

    async def scenario() -> None:
        async with running(tmp_path / "stub.sock", tmp_path) as stub:
            stub.put("a", "one")
            order = {"stubFailures": "2", "objects": "[{objectName: a}]"}
            for target in ("/one", "/two"):
                for _ in range(2):
                    await refused(stub.path, grpc.StatusCode.UNAVAILABLE, target, **order)
                assert files(await mount(stub.path, target, **order)) == {"a": b"one"}
            assert stub.calls == 6

    asyncio.run(scenario())


def test_delay(tmp_path: Path) -> None:
    """A delay is kept."""

    async def scenario() -> None:
        async with running(tmp_path / "stub.sock") as stub:
            started = time.monotonic()
            await refused(stub.path, grpc.StatusCode.ABORTED, stubDelay="150ms", stubError="ABORTED")
            assert time.monotonic() - started >= 0.15

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed(tmp_path: Path, kind: str) -> None:
    """Each kind goes over the wire as it is; the oversized one is more than a driver takes by default."""

    async def scenario() -> None:
        async with running(tmp_path / "stub.sock") as stub:
            reply = await mount(stub.path, stubReply=kind)
            assert reply == MALFORMED[kind]()
            assert bool(versions(reply)) == (kind not in ("empty", "no-versions"))
            assert (reply.ByteSize() > OVERSIZED_BYTES) == (kind == "oversized")

    asyncio.run(scenario())


def test_crash(tmp_path: Path) -> None:
    """A crash breaks the call off and leaves a dead socket; the next start replaces it."""

    async def scenario() -> None:
        async with running(tmp_path / "stub.sock", tmp_path) as stub:
            stub.put("a", "one")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await mount(stub.path, stubCrash="true")
            assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            assert stub.path.is_socket()
            await refused(stub.path, grpc.StatusCode.UNAVAILABLE, objects="[{objectName: a}]")
            async with running(tmp_path / "stub.sock", tmp_path) as successor:
                assert files(await mount(successor.path, objects="[{objectName: a}]")) == {"a": b"one"}

    asyncio.run(scenario())
