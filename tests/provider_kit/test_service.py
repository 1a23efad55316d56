"""The gRPC service over real Unix sockets: what its caller sees."""

import asyncio
from pathlib import Path

import grpc
import grpc.aio
import pytest

from protos import provider_pb2, provider_pb2_grpc
from provider_kit.testing import running
from tests.provider_kit.lab import LabProvider
from tests.support.provider_calls import mount, mount_message, refused, stub_of


def test_failures(tmp_path: Path) -> None:
    """A failure keeps its code and sentence; a bug is INTERNAL and shows nothing; Error.code is a reply."""

    async def scenario() -> None:
        async with running(LabProvider(), tmp_path / "lab.sock") as lab:
            assert await refused(lab.path, grpc.StatusCode.PERMISSION_DENIED, what="denied") == "this pod may not"
            assert "the parameter what is missing" in await refused(lab.path, grpc.StatusCode.INVALID_ARGUMENT)
            for bug in ("bug", "no-versions"):
                assert "hunter2" not in await refused(lab.path, grpc.StatusCode.INTERNAL, what=bug)
            assert (await mount(lab.path, what="code")).error.code == "Forbidden"

    asyncio.run(scenario())


@pytest.mark.parametrize("authority", [None, "example.org"])
def test_authority(tmp_path: Path, authority: str | None) -> None:
    """Anything but localhost is refused by both methods, also gRPC's own default, the socket's path."""

    async def scenario() -> None:
        options = [("grpc.default_authority", authority)] if authority else []
        async with running(LabProvider(), tmp_path / "lab.sock") as lab:
            async with grpc.aio.insecure_channel(f"unix:{lab.path}", options=options) as channel:
                stub = provider_pb2_grpc.CSIDriverProviderStub(channel)
                for call in (stub.Version(provider_pb2.VersionRequest()), stub.Mount(mount_message(what="files"))):
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await call
                    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
                    assert ":authority" in (caught.value.details() or "")
            async with stub_of(lab.path) as stub:
                assert (await stub.Version(provider_pb2.VersionRequest(version="v1alpha1"))).version == "v1alpha1"
            assert lab.calls == 0

    asyncio.run(scenario())


def test_a_caller_that_gives_up(tmp_path: Path) -> None:
    """A hanging mount ends when its caller's deadline passes, and the server ends at once after it."""

    async def scenario() -> None:
        async with running(LabProvider(), tmp_path / "lab.sock") as lab, stub_of(lab.path) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Mount(mount_message(what="hang"), timeout=0.2)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            await asyncio.wait_for(lab.wait_for_calls(1), 5)

    asyncio.run(asyncio.wait_for(scenario(), 8))
