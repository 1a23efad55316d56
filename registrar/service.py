"""The Registration service, which kubelet's plugin watcher calls."""

from collections.abc import Callable
from typing import Any

from protos import pluginregistration_pb2
from runtime import rpc

PLUGIN_TYPE = "CSIPlugin"
VERSIONS = ("1.0.0",)

OnStatus = Callable[[bool, str], None]
"""Called with kubelet's result: whether the driver was registered, and kubelet's error text."""


class RegistrationService:
    """Answers with messages that are built once, because recent kubelets call GetInfo every few seconds."""

    def __init__(self, driver: str, endpoint: str, on_status: OnStatus) -> None:
        self._info = pluginregistration_pb2.PluginInfo(
            type=PLUGIN_TYPE, name=driver, endpoint=endpoint, supported_versions=VERSIONS
        )
        self._response = pluginregistration_pb2.RegistrationStatusResponse()
        self._on_status = on_status

    def register(self, services: rpc.Services) -> None:
        """Add the service to a server."""
        services.add(pluginregistration_pb2.DESCRIPTOR.services_by_name["Registration"], self)

    async def GetInfo(
        self,
        request: pluginregistration_pb2.InfoRequest,
        context: Any,
    ) -> pluginregistration_pb2.PluginInfo:
        """The driver's name, and where kubelet finds its socket."""
        return self._info

    async def NotifyRegistrationStatus(
        self,
        request: pluginregistration_pb2.RegistrationStatus,
        context: Any,
    ) -> pluginregistration_pb2.RegistrationStatusResponse:
        """kubelet reports whether it has registered the driver."""
        self._on_status(request.plugin_registered, request.error)
        return self._response
