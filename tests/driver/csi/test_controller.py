"""CSI Controller over a real socket."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from kubelet_stub.dialing import dial
from protos import csi_pb2, csi_pb2_grpc
from tests.support.rig import rig

CONTROLLER_METHODS = [
    method.name
    for method in csi_pb2.DESCRIPTOR.services_by_name["Controller"].methods
    if method.name != "ControllerGetCapabilities"
]


@pytest.mark.parametrize("name", CONTROLLER_METHODS)
def test_unimplemented(tmp_path: Path, name: str) -> None:
    """Every method but one answers UNIMPLEMENTED."""

    async def run() -> None:
        async with rig(tmp_path) as it, dial(f"{it.directory}/csi.sock") as channel:
            stub: Any = csi_pb2_grpc.ControllerStub(channel)
            request = getattr(csi_pb2, f"{name}Request")()
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await getattr(stub, name)(request)
            assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(run())


def test_capabilities(tmp_path: Path) -> None:
    """There is one capability of type UNKNOWN, as in the Go driver."""

    async def run() -> None:
        async with rig(tmp_path) as it, dial(f"{it.directory}/csi.sock") as channel:
            stub = csi_pb2_grpc.ControllerStub(channel)
            reply = await stub.ControllerGetCapabilities(csi_pb2.ControllerGetCapabilitiesRequest())
            assert [item.rpc.type for item in reply.capabilities] == [0]

    asyncio.run(run())
