"""The Registration service that kubelet's plugin watcher calls."""

from collections.abc import Callable
from typing import Any

from protos import pluginregistration_pb2, pluginregistration_pb2_grpc

PLUGIN_TYPE = "CSIPlugin"
VERSIONS = ("1.0.0",)

# registered, kubelet's text
OnStatus = Callable[[bool, str], None]


class RegistrationService(pluginregistration_pb2_grpc.RegistrationServicer):
    """GetInfo answers from a message built once: newer kubelets ask every few seconds, for ever."""

    def __init__(self, driver: str, endpoint: str, on_status: OnStatus) -> None:
        self._info = pluginregistration_pb2.PluginInfo(
            type=PLUGIN_TYPE, name=driver, endpoint=endpoint, supported_versions=VERSIONS
        )
        self._answer = pluginregistration_pb2.RegistrationStatusResponse()
        self._on_status = on_status

    async def GetInfo(
        self,
        request: pluginregistration_pb2.InfoRequest,
        context: Any,
    ) -> pluginregistration_pb2.PluginInfo:
        """Who the driver is and where kubelet finds it."""
        return self._info

    async def NotifyRegistrationStatus(
        self,
        request: pluginregistration_pb2.RegistrationStatus,
        context: Any,
    ) -> pluginregistration_pb2.RegistrationStatusResponse:
        """Kubelet's verdict."""
        self._on_status(request.plugin_registered, request.error)
        return self._answer
