"""Registration of one plugin, with the steps and limits of kubelet's plugin manager and its CSI handler
(https://github.com/kubernetes/kubernetes, pkg/kubelet/pluginmanager and pkg/volume/csi).

1. Dial the socket, at most 10 s.
2. GetInfo, 1 s.
3. Check: type CSIPlugin, a version with major 1, no other driver with that name.
4. NodeGetInfo at the endpoint; from here on the driver is registered and listed in CSINode.
5. NotifyRegistrationStatus, 5 s, with the outcome of steps 3 and 4.
"""

import asyncio
import re
from collections.abc import Sequence

from kubelet_stub.client import NodeClient, connect
from kubelet_stub.codes import go_text
from kubelet_stub.config import Config
from kubelet_stub.drivers import Driver, Drivers
from protos import pluginregistration_pb2 as registration
from protos import pluginregistration_pb2_grpc as registration_grpc
from runtime.errors import DeadlineExceeded, Failure, InvalidRequest

PLUGIN_TYPE = "CSIPlugin"
DIAL_SECONDS, GET_INFO_SECONDS, NOTIFY_SECONDS = 10.0, 1.0, 5.0
_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+].*)?")


async def register(socket: str, config: Config, drivers: Drivers) -> Driver:
    """The steps above; returns the registered driver, or raises the Failure that was reported to the plugin."""
    info = await get_info(socket)
    try:
        driver = await _accept(info, socket, config, drivers)
    except Failure as failure:
        await _notify(socket, registration.RegistrationStatus(plugin_registered=False, error=go_text(failure)))
        raise
    drivers.add(driver)
    await _notify(socket, registration.RegistrationStatus(plugin_registered=True))
    return driver


async def get_info(socket: str) -> registration.PluginInfo:
    """Steps 1 and 2, over a new connection."""
    async with connect(socket) as channel:
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                await channel.channel_ready()
        except TimeoutError:
            raise DeadlineExceeded(f"failed to dial socket {socket} within {DIAL_SECONDS:g}s") from None
        return await registration_grpc.RegistrationStub(channel).GetInfo(
            registration.InfoRequest(), timeout=GET_INFO_SECONDS
        )


def highest_version(versions: Sequence[str]) -> str:
    """The highest version with major 1; InvalidRequest if there is none."""
    found = [
        (tuple(int(part or 0) for part in match.groups()), text)
        for text in versions
        if (match := _VERSION.fullmatch(text))
    ]
    usable = [(numbers, text) for numbers, text in found if numbers[0] == 1]
    if not usable:
        raise InvalidRequest(
            f"none of the versions {list(versions)} is supported: kubelet requires one with major 1, such as 1.0.0"
        )
    return max(usable)[1]


async def _accept(info: registration.PluginInfo, socket: str, config: Config, drivers: Drivers) -> Driver:
    if info.type != PLUGIN_TYPE:
        raise InvalidRequest(f"no handler registered for plugin type: {info.type} at socket {socket}")
    version = highest_version(info.supported_versions)
    if drivers.get(info.name) is not None:
        raise InvalidRequest(
            f"another driver with the name {info.name} is already registered with the same or a higher version"
        )
    if config.refuse_registration:
        raise InvalidRequest(config.refuse_registration)
    endpoint = info.endpoint or socket
    node = await NodeClient(endpoint).info(config.publish_timeout)
    if not node.node_id:
        raise InvalidRequest("error adding CSI driver node info: driverNodeID must not be empty")
    return Driver(info.name, endpoint, node.node_id, version, socket)


async def _notify(socket: str, status: registration.RegistrationStatus) -> None:
    async with connect(socket) as channel:
        await registration_grpc.RegistrationStub(channel).NotifyRegistrationStatus(status, timeout=NOTIFY_SECONDS)
