"""The gRPC service over real Unix sockets: what its caller sees."""

import asyncio
import concurrent.futures
import math
import time
from pathlib import Path

import grpc
import grpc.aio
import pytest

from protos import provider_pb2, provider_pb2_grpc
from provider_kit import service
from provider_kit.service import ProviderService
from provider_kit.testing import running
from tests.provider_kit.lab import LabProvider
from tests.support.provider_calls import mount, mount_message, refused, stub_of
from tests.support.waiting import run_async, until


def test_failures(tmp_path: Path) -> None:
    """A failure keeps its code and sentence; a bug, such as a mount that returns nothing, is INTERNAL and shows
    nothing; a timeout is DEADLINE_EXCEEDED; Error.code is a reply."""

    async def scenario() -> None:
        async with running(LabProvider(), tmp_path / "lab.sock") as lab:
            assert await refused(lab.path, grpc.StatusCode.PERMISSION_DENIED, what="denied") == "this pod may not"
            assert "the parameter what is missing" in await refused(lab.path, grpc.StatusCode.INVALID_ARGUMENT)
            for bug in ("bug", "no-versions", "nothing"):
                sentence = await refused(lab.path, grpc.StatusCode.INTERNAL, what=bug)
                assert sentence == "internal error; the provider's log has the details"
            late = await refused(lab.path, grpc.StatusCode.DEADLINE_EXCEEDED, what="deadline")
            assert late == "lab did not get the secrets in time"
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


def test_more_calls_than_may_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many calls hang as may run → one more is refused with a code that is tried again, Version is answered, and
    when their callers give up there is room again."""
    monkeypatch.setattr(service, "MAX_CONCURRENT_CALLS", 5)

    async def scenario() -> None:
        async with running(LabProvider(), tmp_path / "lab.sock") as lab, stub_of(lab.path) as stub:
            hanging = [stub.Mount(mount_message(what="hang")) for _ in range(5)]
            for call in hanging:
                asyncio.ensure_future(call)
            await asyncio.wait_for(lab.wait_for_calls(5), 20)
            assert "5 volumes" in await refused(lab.path, grpc.StatusCode.RESOURCE_EXHAUSTED, what="files")
            assert (await stub.Version(provider_pb2.VersionRequest(), timeout=20)).runtime_name == "lab"
            for call in hanging:
                call.cancel()
            await until(lambda: _delivers(lab.path), "room for another call")

    run_async(scenario)


async def _delivers(path: Path) -> bool:
    try:
        return len((await mount(path, what="files")).files) == 2
    except grpc.aio.AioRpcError as error:
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        return False


def test_the_deadline(tmp_path: Path) -> None:
    """A call with a deadline → the provider knows when its caller gives up; one without → never."""

    async def scenario() -> None:
        async with running(LabProvider(), tmp_path / "lab.sock") as lab, stub_of(lab.path) as stub:
            before = time.monotonic()
            await stub.Mount(mount_message(what="files"), timeout=50)
            await stub.Mount(mount_message(what="files"))
            first, second = (request.deadline for request in lab.requests)
            assert before + 20 < first < time.monotonic() + 60 and second == math.inf

    run_async(scenario)


def test_a_call_that_ended_before_it_began() -> None:
    """The caller gave up before a thread took the call → the provider's work is cancelled, not done for nobody."""

    class Ended:
        """The context of a call that is over, as gRPC's is: callbacks are refused."""

        def add_callback(self, callback: object) -> bool:
            return False

    async def scenario() -> None:
        service = ProviderService(LabProvider(), asyncio.get_running_loop())

        def in_a_thread() -> bool:
            try:
                service._wait(Ended(), asyncio.Event().wait())
            except concurrent.futures.CancelledError:
                return True
            return False

        assert await asyncio.to_thread(in_a_thread)

    run_async(scenario, 20)


def test_a_caller_that_gives_up(tmp_path: Path) -> None:
    """A hanging mount ends when its caller's deadline passes, and the server ends at once after it."""

    async def scenario() -> None:
        async with running(LabProvider(), tmp_path / "lab.sock") as lab, stub_of(lab.path) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Mount(mount_message(what="hang"), timeout=0.2)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            await asyncio.wait_for(lab.wait_for_calls(1), 5)

    asyncio.run(asyncio.wait_for(scenario(), 8))
