"""The load generator: a process of its own that reads one job a line and answers with one line.

A publish is what kubelet does for a volume: its directory, NodeGetCapabilities twice, NodePublishVolume, each on a
new connection. A failed one is tried again after kubelet's pauses (0.5 s, doubled), if the job says so. ``python -m
bench.load``.
"""

import asyncio
import gc
import json
import os
import sys
import time
from typing import Any

from bench import wire
from protos import csi_pb2

_CAPABILITIES = wire.request(wire.Method("/csi.v1.Node/NodeGetCapabilities"), b"")
_PUBLISH = wire.Method("/csi.v1.Node/NodePublishVolume")
_UNPUBLISH = wire.Method("/csi.v1.Node/NodeUnpublishVolume")
_PROBE = wire.request(wire.Method("/csi.v1.Identity/Probe"), b"")
_GET_INFO = wire.request(wire.Method("/pluginregistration.Registration/GetInfo"), b"")
_FIRST_PAUSE = 0.5

Job = dict[str, Any]


def publish_request(volume: Job) -> bytes:
    """The request as kubelet sends it."""
    request = csi_pb2.NodePublishVolumeRequest(
        volume_id=volume["id"], target_path=volume["target"], readonly=True, volume_context=volume["context"]
    )
    request.volume_capability.mount.SetInParent()
    request.volume_capability.access_mode.mode = csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_READER_ONLY
    return wire.request(_PUBLISH, request.SerializeToString())


def unpublish_request(volume: Job) -> bytes:
    """The request as kubelet sends it."""
    request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume["id"], target_path=volume["target"])
    return wire.request(_UNPUBLISH, request.SerializeToString())


class Run:
    """One job: its calls, their times, and what failed."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.seconds: list[float] = []
        self.ended: list[float] = []
        self.first_failures: list[str] = []
        self.failures: list[str] = []

    async def calls(self) -> Job:
        """Publish or unpublish all volumes of the job: at once, or at a rate, or with ``clients`` at a time."""
        publish = self.job["do"] == "publish"
        volumes = self.job["volumes"]
        prepared = [publish_request(item) if publish else unpublish_request(item) for item in volumes]
        if publish:
            for item in volumes:
                os.makedirs(os.path.dirname(item["target"]), exist_ok=True)
        gc.collect()
        gc.freeze()
        started = time.perf_counter()
        if rate := self.job.get("rate"):
            tasks = []
            for number, item in enumerate(prepared):
                await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
                tasks.append(asyncio.create_task(self._one(item, started)))
            await asyncio.gather(*tasks)
        else:
            queue = iter(prepared)
            await asyncio.gather(
                *(self._worker(queue, started) for _ in range(self.job.get("clients") or len(prepared)))
            )
        total = time.perf_counter() - started
        return {
            "total": total,
            "seconds": self.seconds,
            "ended": self.ended,
            "failures": self.failures,
            "first_failures": self.first_failures,
        }

    async def _worker(self, queue: Any, started: float) -> None:
        for item in queue:
            await self._one(item, started)

    async def _one(self, prepared: bytes, started: float) -> None:
        socket, pause = self.job["socket"], _FIRST_PAUSE
        for attempt in range(20 if self.job.get("retry") else 1):  # noqa: B007
            try:
                for _ in range(self.job.get("capabilities", 0)):
                    await wire.call(socket, _CAPABILITIES)
                begun = time.perf_counter()
                async with asyncio.timeout(120):
                    await wire.call(socket, prepared)
            except (wire.CallFailed, OSError) as error:
                (self.failures if not self.job.get("retry") else self.first_failures).append(
                    f"{type(error).__name__}: {error}"
                )
                await asyncio.sleep(pause if self.job.get("retry") else 0)
                pause *= 2
                continue
            now = time.perf_counter()
            self.seconds.append(now - begun)
            self.ended.append(now - started)
            return


async def probe(job: Job) -> Job:
    """Ask Probe until it is answered; tells the wall clock time of that."""
    end = time.monotonic() + job.get("timeout", 30)
    while True:
        try:
            reply = await wire.call(job["socket"], _PROBE)
            if csi_pb2.ProbeResponse.FromString(reply).ready.value or not csi_pb2.ProbeResponse.FromString(
                reply
            ).HasField("ready"):
                return {"at": time.time()}
        except (wire.CallFailed, OSError):
            pass
        if time.monotonic() > end:
            return {"at": None}
        await asyncio.sleep(0.002)


async def floor(job: Job) -> Job:
    """The same calls that a publish makes, against whatever serves the method."""
    return await Run({**job, "do": "unpublish", "capabilities": job.get("capabilities", 2)}).calls()


async def getinfo(job: Job) -> Job:
    """GetInfo of a registrar, each on a new connection, as kubelet polls it."""
    seconds = []
    for _ in range(job["count"]):
        begun = time.perf_counter()
        await wire.call(job["socket"], _GET_INFO)
        seconds.append(time.perf_counter() - begun)
    return {"seconds": seconds}


async def http(job: Job) -> Job:
    """GET /healthz: ``keep`` the connections or not, ``connections`` at once."""
    host, port, seconds, total = job["host"], job["port"], [], job["count"]
    request = (
        f"GET {job.get('path', '/healthz')} HTTP/1.1\r\nHost: {host}\r\n"
        + ("" if job["keep"] else "Connection: close\r\n")
        + "\r\n"
    )
    raw, left = request.encode(), [total]
    bad: list[str] = []

    async def client() -> None:
        streams = None
        while left[0] > 0:
            left[0] -= 1
            begun = time.perf_counter()
            if streams is None:
                streams = await asyncio.open_connection(host, port)
            reader, writer = streams
            writer.write(raw)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                ),
                0,
            )
            await reader.readexactly(length)
            seconds.append(time.perf_counter() - begun)
            if b" 200 " not in head[:20]:
                bad.append(head[:40].decode(errors="replace"))
            if not job["keep"]:
                writer.close()
                streams = None
        if streams is not None:
            streams[1].close()

    gc.collect()
    gc.freeze()
    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(job["connections"])))
    return {"total": time.perf_counter() - started, "seconds": seconds, "failures": bad}


async def perform(job: Job) -> Job:
    """Do one job."""
    if job["do"] in ("publish", "unpublish"):
        return await Run(job).calls()
    return await {"probe": probe, "floor": floor, "http": http, "getinfo": getinfo}[job["do"]](job)


def main() -> None:
    """Read jobs until the end of the input."""
    for line in sys.stdin:
        print(json.dumps(asyncio.run(perform(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
