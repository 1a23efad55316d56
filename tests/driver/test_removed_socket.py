"""The CSI socket is removed or replaced while the driver runs: pods get their volumes all the same, and the health
check says what kubelet would find."""

import asyncio
from pathlib import Path

import grpc.aio

from kubelet_stub.dialing import dial
from probe.driver import DriverProbe
from protos import csi_pb2_grpc
from provider_stub.running import running
from runtime import metrics
from tests.support.files import NOTHING, inode
from tests.support.process_rig import ProcessRig
from tests.support.rig import Rig, rig
from tests.support.waiting import until

SLOW = {"objects": "- objectName: password", "stubDelay": "3s"}
SECONDS = 30.0  # the machine of the test is busy


async def publish_as_kubelet(it: Rig, pod: str) -> None:
    """Publish over a new connection, as kubelet does for each call; repeated until it succeeds."""

    async def published() -> bool:
        async with dial(f"{it.directory}/csi.sock") as channel:
            it.node = csi_pb2_grpc.NodeStub(channel)
            try:
                await it.volume(pod).publish()
            except grpc.aio.AioRpcError:
                return False
        return True

    await until(published, f"the publish of {pod}", SECONDS)


def test_socket_is_removed_during_a_publish(tmp_path: Path) -> None:
    """``rm csi.sock`` while a publish runs, twice → the next pod gets its volume, the one under way too, the health
    check is good again, and at the end there is no socket."""

    async def run() -> None:
        socket = tmp_path / "csi.sock"
        probe = DriverProbe(str(socket), 5.0, metrics.registry())
        async with rig(tmp_path) as it:
            assert (await probe.check()).healthy
            it.write_class("slow", parameters=SLOW)
            slow = asyncio.create_task(it.volume("pod-0", class_name="slow").publish())
            await it.provider.wait_for_calls(1)
            for pod in ("pod-1", "pod-2"):
                before = inode(socket)
                socket.unlink()
                await publish_as_kubelet(it, pod)
                assert inode(socket) not in (NOTHING, before)
                assert (await probe.check()).healthy
            assert not slow.done()
            await slow
            assert all(it.volume(pod).read() == b"s3cret" for pod in ("pod-0", "pod-1", "pod-2"))
        assert not socket.exists()
        probe.close()

    asyncio.run(run())


def test_surge_that_is_taken_back(tmp_path: Path) -> None:
    """Driver A runs; driver B starts and replaces the socket; B stops and removes it → pods get their volumes from A,
    the health check is good at each step; A stops → no socket, and unhealthy."""

    async def run() -> None:
        socket = tmp_path / "csi.sock"
        probe = DriverProbe(str(socket), 5.0, metrics.registry())
        it = ProcessRig(tmp_path, {})
        it.write_class()
        async with running(it.providers_dir / "stub.sock", it.secrets_dir) as provider:
            provider.put("password", "s3cret")
            first = it.spawn()
            try:
                await until(socket.exists, "driver A", SECONDS)
                await publish_as_kubelet(it, "pod-1")
                ours = inode(socket)
                second = it.spawn()
                try:
                    await until(lambda: inode(socket) != ours, "driver B", SECONDS)
                    await publish_as_kubelet(it, "pod-2")
                    theirs = inode(socket)
                    assert theirs not in (NOTHING, ours) and (await probe.check()).healthy
                finally:
                    second.terminate()
                    await asyncio.to_thread(second.wait, SECONDS)
                await publish_as_kubelet(it, "pod-3")
                assert inode(socket) not in (NOTHING, ours, theirs) and (await probe.check()).healthy
            finally:
                first.terminate()
                await asyncio.to_thread(first.wait, SECONDS)
            assert (first.returncode, second.returncode, socket.exists()) == (0, 0, False)
            probe._timeout = 0.5
            assert not (await probe.check()).healthy
        probe.close()

    asyncio.run(run())
