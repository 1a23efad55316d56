"""CSI Identity over a real socket."""

import asyncio
from pathlib import Path

from protos import csi_pb2
from runtime.version import build
from tests.support.rig import rig


def test_identity(tmp_path: Path) -> None:
    """Name, version, no capabilities, and ready as soon as it serves."""

    async def run() -> None:
        async with rig(tmp_path) as it:
            info = await it.identity.GetPluginInfo(csi_pb2.GetPluginInfoRequest())
            assert (info.name, info.vendor_version) == ("secrets-store.csi.k8s.io", build().version)
            assert (
                len((await it.identity.GetPluginCapabilities(csi_pb2.GetPluginCapabilitiesRequest())).capabilities) == 0
            )
            probe = await it.identity.Probe(csi_pb2.ProbeRequest())
            assert probe.HasField("ready") and probe.ready.value

    asyncio.run(run())
