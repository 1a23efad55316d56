"""A fake driver: Identity and NodeGetInfo, with replies, errors and delays as a test sets them. Also a program:

python -m tests.support.fake_driver /path/csi.sock name [ready|absent|unready|error]
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc.aio

from protos import csi_pb2, csi_pb2_grpc
from runtime import rpc
from runtime.endpoints import UnixEndpoint
from runtime.errors import PreconditionFailed
from runtime.signals import stop_event
from tests.support import unmeasured

NAME = "fake.csi.example"


class FakeDriver(csi_pb2_grpc.IdentityServicer, csi_pb2_grpc.NodeServicer):
    """``ready`` None leaves the value out of the Probe reply; while ``hang`` is not set, calls wait; ``asked`` counts
    GetPluginInfo, ``probes`` Probe."""

    def __init__(self, name: str = NAME) -> None:
        self.name = name
        self.ready: bool | None = True
        self.error: Exception | None = None
        self.probes = self.asked = 0
        self.hang: asyncio.Event | None = None

    async def GetPluginInfo(self, request: csi_pb2.GetPluginInfoRequest, context: Any) -> csi_pb2.GetPluginInfoResponse:
        """The name."""
        self.asked += 1
        if self.hang is not None:
            await self.hang.wait()
        return csi_pb2.GetPluginInfoResponse(name=self.name, vendor_version="v0")

    async def Probe(self, request: csi_pb2.ProbeRequest, context: Any) -> csi_pb2.ProbeResponse:
        """``ready``, or ``error``."""
        self.probes += 1
        if self.hang is not None:
            await self.hang.wait()
        if self.error is not None:
            raise self.error
        reply = csi_pb2.ProbeResponse()
        if self.ready is not None:
            reply.ready.value = self.ready
        return reply

    async def NodeGetInfo(self, request: csi_pb2.NodeGetInfoRequest, context: Any) -> csi_pb2.NodeGetInfoResponse:
        """The node's id, for which kubelet asks when it registers the driver."""
        return csi_pb2.NodeGetInfoResponse(node_id="node-1")

    def register(self, server: grpc.aio.Server) -> None:
        """Add both services to a server."""
        csi_pb2_grpc.add_IdentityServicer_to_server(self, server)
        csi_pb2_grpc.add_NodeServicer_to_server(self, server)


@asynccontextmanager
async def fake_driver(path: str, driver: FakeDriver | None = None) -> AsyncIterator[FakeDriver]:
    """Serve a fake driver on ``path``."""
    driver = driver or FakeDriver()
    async with rpc.serve(UnixEndpoint(path), driver.register):
        yield driver


@contextmanager
def driver_process(path: Path, *behaviour: str) -> Iterator[subprocess.Popen[bytes]]:
    """A fake driver as a process of its own, killed at the end; ``behaviour`` as ``main`` takes it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fake_driver", str(path), NAME, *behaviour],
        env=unmeasured.environment(),
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


async def main(path: str, name: str, behaviour: str = "ready") -> None:
    """Serve until SIGTERM."""
    driver = FakeDriver(name)
    driver.ready = {"ready": True, "absent": None, "unready": False, "error": True}[behaviour]
    driver.error = PreconditionFailed("broken") if behaviour == "error" else None
    with stop_event() as stop:
        async with fake_driver(path, driver):
            await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
