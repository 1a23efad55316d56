"""A rig whose driver is a process of its own, which can be killed and restarted."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kubelet_stub.dialing import dial
from protos import csi_pb2_grpc
from tests.support import unmeasured
from tests.support.rig import Rig


class ProcessRig(Rig):
    """Use ``process`` instead of ``start`` and ``stop``. With a kubeconfig the driver asks an API server."""

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start a driver process on the rig's directories."""
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "driver.main",
                f"--endpoint=unix://{self.directory}/csi.sock",
                f"--nodeid={self.config.nodeid}",
                "--metrics-addr=",
                f"--kubeconfig={self.config.kubeconfig}" if self.config.kubeconfig else f"--manifests={self.manifests}",
                f"--provider-volume={self.providers_dir}",
                f"--additional-provider-volume-paths={','.join(self.config.additional_provider_volume_paths)}",
                f"--kubelet-pods-dir={self.pods_dir}",
                "--status-directory=",
                "--enable-secret-rotation",
                "--rotation-poll-interval=1s",
            ],
            stderr=subprocess.DEVNULL,
            env=unmeasured.environment(TMPDIR=str(self.directory)),
        )

    @asynccontextmanager
    async def process(self) -> AsyncIterator[subprocess.Popen[bytes]]:
        """Run a driver process, which serves already, for the length of the block; it is killed at the end."""
        process = self.spawn()
        try:
            async with dial(f"{self.directory}/csi.sock", [("grpc.initial_reconnect_backoff_ms", 20)]) as channel:
                self.node = csi_pb2_grpc.NodeStub(channel)
                async with asyncio.timeout(20):
                    await channel.channel_ready()
                yield process
        finally:
            process.kill()
            process.wait()
