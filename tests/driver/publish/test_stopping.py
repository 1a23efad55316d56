"""The driver stops while publishes wait for what is away: it does not wait with them."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest

from driver.ports import ClassRef
from driver.publish import stopping
from kubelet_stub.dialing import dial
from protos import csi_pb2_grpc
from provider_stub.running import running
from runtime.errors import Unavailable
from tests.driver.publish.support import FAILING, known, make_due
from tests.support.fake_api import Silence
from tests.support.fake_api_rig import fake_api_rig
from tests.support.process_rig import ProcessRig
from tests.support.rig import Rig, rig
from tests.support.waiting import until

SENTENCE = "the driver on this node is stopping; kubelet tries again"
# Far less than the time that a publish may wait, and than what kubelet and the supervisor leave.
AT_ONCE = 8.0
SLOW = {"objects": "- objectName: password", "stubDelay": "60s"}


@asynccontextmanager
async def kubelet(it: Rig) -> AsyncIterator[None]:
    """A connection for the rig's calls that outlives its driver, as kubelet's does."""
    async with dial(f"{it.directory}/csi.sock") as channel:
        it.node = csi_pb2_grpc.NodeStub(channel)
        yield


@asynccontextmanager
async def stopped_at_once(it: Rig) -> AsyncIterator[None]:
    """Stop the driver when the publish that the context starts is under way; it must do so at once."""
    yield
    await until(lambda: it.driver.node._running, "the publish to be under way")
    started = time.monotonic()
    await it.stop()
    assert time.monotonic() - started < AT_ONCE


@pytest.mark.parametrize("leftover", [True, False])
def test_provider_is_away(tmp_path: Path, leftover: bool) -> None:
    """A first publish waits for a provider that was killed, whose socket is still there or not → it ends with
    UNAVAILABLE and a sentence, nothing stays mounted, and the next driver publishes the volume."""

    async def run() -> None:
        async with rig(tmp_path) as it, kubelet(it):
            await it.volume("pod-1").publish()
            it.provider.crash()
            if not leftover:
                it.provider.path.unlink()
            volume = it.volume("pod-2")
            async with stopped_at_once(it):
                waiting = asyncio.create_task(volume.failure(timeout=60.0))
            code, text = await waiting
            assert code == grpc.StatusCode.UNAVAILABLE and SENTENCE in text
            assert not volume.mounted and volume.left_on_disk == []
            it.provider.path.unlink(missing_ok=True)
            async with running(it.providers_dir / "stub.sock", it.secrets_dir):
                await it.start()
                await volume.publish()
                assert volume.read() == b"s3cret"

    asyncio.run(run())


def test_provider_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider is at work on a call → it has a moment to answer, which one that needs a minute does not use up."""
    monkeypatch.setattr("driver.publish.fetching.fetcher.CALL_SECONDS", 2.0)

    async def run() -> None:
        async with rig(tmp_path) as it, kubelet(it):
            it.write_class("slow", parameters=SLOW)
            it.write_class("quick", parameters={**SLOW, "stubDelay": "300ms"})
            slow = asyncio.create_task(it.volume("pod-1", class_name="slow").failure(timeout=60.0))
            await it.provider.wait_for_calls(1)
            quick = asyncio.create_task(it.volume("pod-2", class_name="quick").publish())
            await it.provider.wait_for_calls(2)
            async with stopped_at_once(it):
                pass
            code, text = await slow
            assert code == grpc.StatusCode.UNAVAILABLE and SENTENCE in text
            assert not it.volume("pod-1").mounted
            await quick
            assert it.volume("pod-2").read() == b"s3cret"

    asyncio.run(run())


def test_refresh(tmp_path: Path) -> None:
    """A refresh waits for a provider that is away → kubelet gets OK, and the volume keeps its content and has no
    failure: the next driver refreshes it."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it, kubelet(it):
            volume = it.volume()
            await volume.publish()
            it.provider.crash()
            make_due(it, volume)
            async with stopped_at_once(it):
                waiting = asyncio.create_task(volume.publish(timeout=60.0))
            await waiting
            assert volume.read() == b"s3cret"
            await it.start()
            assert known(it, volume).failure is None

    asyncio.run(run())


@pytest.mark.parametrize(
    "method, path", [("GET", "/secretproviderclasses/"), ("POST", "/secretproviderclasspodstatuses")]
)
def test_api_server_is_away(tmp_path: Path, method: str, path: str) -> None:
    """A first publish waits for an API server that does not answer, for the class or with the pod status → the same;
    content that was committed stays mounted."""

    async def run() -> None:
        with fake_api_rig(tmp_path) as here:
            here.make_class()
            pod = here.make_pod()
            async with here.driver() as it, kubelet(it):
                await here.watch_open()
                rule = here.server.on(method, path, Silence())
                volume = here.volume(it, pod)
                async with stopped_at_once(it):
                    waiting = asyncio.create_task(volume.failure(timeout=60.0))
                    await until(lambda: rule.hits, "the call")
                code, text = await waiting
                assert code == grpc.StatusCode.UNAVAILABLE and SENTENCE in text
                assert volume.mounted is (method == "POST")

    asyncio.run(run())


def test_status_of_a_failed_refresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh fails, and the API server does not answer to the pod status that would say so → kubelet gets OK, and
    the driver stops at once; the next one writes the status."""
    for bound in ("WRITE_SECONDS", "SLOW_WRITE_SECONDS"):
        monkeypatch.setattr(f"driver.cluster.statuses.store.{bound}", 60.0)

    async def run() -> None:
        with fake_api_rig(tmp_path) as here:
            here.make_class()
            pod = here.make_pod()
            async with here.driver(enable_secret_rotation=True) as it, kubelet(it):
                await here.watch_open()
                volume = here.volume(it, pod)
                await volume.publish()
                here.make_class(parameters=FAILING)

                async def learned() -> bool:
                    known_class = await it.driver.backend.cluster.get_class(ClassRef("default", "app"))
                    return known_class.parameters == FAILING

                await until(learned, "the new class")
                rule = here.server.on("PATCH", "/secretproviderclasspodstatuses", Silence())
                make_due(it, volume)
                async with stopped_at_once(it):
                    waiting = asyncio.create_task(volume.publish(timeout=60.0))
                    await until(lambda: rule.hits, "the call")
                await waiting
                rule.lift()
                await it.start()
                make_due(it, volume)
                await volume.publish()
                assert "lastFailure" in here.api.get(here.status_path())["status"]

    asyncio.run(run())


def test_sigterm(tmp_path: Path) -> None:
    """SIGTERM for a driver's process while twenty publishes wait for a provider → it ends by itself, with exit code
    0."""

    async def run() -> None:
        it = ProcessRig(tmp_path, {})
        it.write_class()
        async with running(it.providers_dir / "stub.sock", it.secrets_dir) as provider:
            provider.put("password", "s3cret")
            async with it.process() as process:
                await it.volume("pod-0").publish()
                provider.crash()
                volumes = [it.volume(f"pod-{number}") for number in range(1, 21)]
                waiting = [asyncio.create_task(volume.failure(timeout=60.0)) for volume in volumes]
                await until(lambda: all(volume.mounted for volume in volumes), "the publishes to be under way")
                started = time.monotonic()
                process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(process.wait, 20) == 0
                assert time.monotonic() - started < AT_ONCE
                assert {SENTENCE in text for _, text in await asyncio.gather(*waiting)} == {True}
                assert not any(volume.mounted for volume in volumes)

    asyncio.run(run())


def test_only_the_stop_is_reported_as_one() -> None:
    """Within the context, a time limit of the caller's own and other errors pass as they are; a wait that begins after
    the stop is limited too, and one that ends in time is not disturbed."""

    async def run() -> None:
        found = stopping.Stopping()
        with pytest.raises(TimeoutError):
            async with found.interruptible(), asyncio.timeout(0):
                await asyncio.sleep(60)
        with pytest.raises(Unavailable, match="away"):
            async with found.interruptible():
                raise Unavailable("away")
        async with found.interruptible(lambda: 60.0):
            found.stop()
            await asyncio.sleep(0)
        with pytest.raises(stopping.DriverStopping):
            async with found.interruptible(float):
                await asyncio.sleep(60)
        assert not found._waits

    asyncio.run(run())
