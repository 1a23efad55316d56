"""Publishes and unpublishes as kubelet makes them: the volume's directory, NodeGetCapabilities (``capabilities``
times), and the call itself, each on a new connection. If the job says ``retry``, failed calls are repeated after
kubelet's pauses (0.5 s, doubling).
"""

import asyncio
import gc
import os
import time
from collections.abc import Iterator
from typing import Any

from bench import wire
from protos import csi_pb2

_CAPABILITIES = wire.request(wire.Method("/csi.v1.Node/NodeGetCapabilities"), b"")
_PUBLISH = wire.Method("/csi.v1.Node/NodePublishVolume")
_UNPUBLISH = wire.Method("/csi.v1.Node/NodeUnpublishVolume")
_FIRST_PAUSE = 0.5
_MAX_ATTEMPTS = 20
_CALL_SECONDS = 120.0

Job = dict[str, Any]


def publish_request(volume: Job) -> bytes:
    """NodePublishVolume as kubelet sends it."""
    request = csi_pb2.NodePublishVolumeRequest(
        volume_id=volume["id"], target_path=volume["target"], readonly=True, volume_context=volume["context"]
    )
    request.volume_capability.mount.SetInParent()
    request.volume_capability.access_mode.mode = csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_READER_ONLY
    return wire.request(_PUBLISH, request.SerializeToString())


def unpublish_request(volume: Job) -> bytes:
    """NodeUnpublishVolume as kubelet sends it."""
    request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume["id"], target_path=volume["target"])
    return wire.request(_UNPUBLISH, request.SerializeToString())


class VolumeCalls:
    """One job: its calls, their durations, and the failures."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.seconds: list[float] = []
        self.ended: list[float] = []
        self.first_failures: list[str] = []
        self.failures: list[str] = []

    async def run(self) -> Job:
        """Publish or unpublish all volumes of the job: ``rate`` per second, ``clients`` at a time, or all at once."""
        requests = self._prepare()
        gc.collect()
        gc.freeze()
        started = time.perf_counter()
        if rate := self.job.get("rate"):
            tasks = []
            for number, request in enumerate(requests):
                await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
                tasks.append(asyncio.create_task(self._call(request, started)))
            await asyncio.gather(*tasks)
        else:
            queue = iter(requests)
            clients = self.job.get("clients") or len(requests)
            await asyncio.gather(*(self._client(queue, started) for _ in range(clients)))
        return {
            "total": time.perf_counter() - started,
            "seconds": self.seconds,
            "ended": self.ended,
            "failures": self.failures,
            "first_failures": self.first_failures,
        }

    def _prepare(self) -> list[bytes]:
        volumes = self.job["volumes"]
        if self.job["do"] != "publish":
            return [unpublish_request(volume) for volume in volumes]
        requests = [publish_request(volume) for volume in volumes]
        for volume in volumes:
            os.makedirs(os.path.dirname(volume["target"]), exist_ok=True)
        return requests

    async def _client(self, queue: Iterator[bytes], started: float) -> None:
        for request in queue:
            await self._call(request, started)

    async def _call(self, request: bytes, started: float) -> None:
        socket, retry, pause = self.job["socket"], self.job.get("retry", False), _FIRST_PAUSE
        for _ in range(_MAX_ATTEMPTS if retry else 1):
            try:
                for _ in range(self.job.get("capabilities", 0)):
                    await wire.call(socket, _CAPABILITIES)
                called = time.perf_counter()
                async with asyncio.timeout(_CALL_SECONDS):
                    await wire.call(socket, request)
            except (wire.CallFailed, OSError) as error:
                (self.first_failures if retry else self.failures).append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(pause if retry else 0)
                pause *= 2
                continue
            now = time.perf_counter()
            self.seconds.append(now - called)
            self.ended.append(now - started)
            return
