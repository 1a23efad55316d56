"""A fake CSI driver that mounts a tmpfs, records its calls, and fails on demand."""

import ctypes
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protos import csi_pb2 as csi
from protos import csi_pb2_grpc as csi_grpc
from protos import pluginregistration_pb2 as registration
from protos import pluginregistration_pb2_grpc as registration_grpc
from runtime import rpc
from runtime.endpoints import UnixEndpoint
from runtime.rpc import RemoteFailure, StatusCode

NAME = "fake.csi.example.com"
Capability = csi.NodeServiceCapability.RPC
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class MountingDriver:
    """How the driver behaves and what it was asked; ``failures`` are taken from the front, one for each publish (None:
    succeed)."""

    name: str = NAME
    node_id: str = "driver-node"
    endpoint: str = ""
    type: str = "CSIPlugin"
    versions: tuple[str, ...] = ("1.0.0",)
    capabilities: "tuple[Capability.Type.ValueType, ...]" = (Capability.VOLUME_MOUNT_GROUP, Capability.GET_VOLUME_STATS)
    failures: list[StatusCode | None] = field(default_factory=list)
    unpublish_failures: list[StatusCode] = field(default_factory=list)
    failing_capabilities: list[StatusCode | None] = field(default_factory=list)
    mount_before_failing: bool = False
    unmount_when_failing: bool = False
    condition: csi.VolumeCondition | None = None
    calls: list[tuple[str, Any]] = field(default_factory=list)
    statuses: list[registration.RegistrationStatus] = field(default_factory=list)
    polls: int = 0
    silent: bool = False

    def requests(self, method: str) -> list[Any]:
        """The requests of one method, in order."""
        return [request for name, request in self.calls if name == method]


class _Node(csi_grpc.NodeServicer):
    def __init__(self, driver: MountingDriver) -> None:
        self._driver = driver

    def _note(self, method: str, request: Any) -> None:
        self._driver.calls.append((method, request))

    async def NodeGetInfo(self, request: Any, context: Any) -> csi.NodeGetInfoResponse:
        self._note("NodeGetInfo", request)
        return csi.NodeGetInfoResponse(node_id=self._driver.node_id)

    async def NodeGetCapabilities(self, request: Any, context: Any) -> csi.NodeGetCapabilitiesResponse:
        self._note("NodeGetCapabilities", request)
        failure = self._driver.failing_capabilities.pop(0) if self._driver.failing_capabilities else None
        if failure is not None:
            raise RemoteFailure(failure, "no capabilities today")
        reply = csi.NodeGetCapabilitiesResponse()
        for number in self._driver.capabilities:
            reply.capabilities.add().rpc.type = number
        return reply

    async def NodePublishVolume(self, request: Any, context: Any) -> csi.NodePublishVolumeResponse:
        self._note("NodePublishVolume", request)
        target = Path(request.target_path)
        failure = self._driver.failures.pop(0) if self._driver.failures else None
        if failure is not None:
            if self._driver.mount_before_failing:
                mount(target)
            if self._driver.unmount_when_failing:
                unmount(target)
            raise RemoteFailure(failure, "driver trouble")
        if not target.is_mount():
            mount(target)
        (target / "secret").write_text("value")
        return csi.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(self, request: Any, context: Any) -> csi.NodeUnpublishVolumeResponse:
        self._note("NodeUnpublishVolume", request)
        if self._driver.unpublish_failures:
            raise RemoteFailure(self._driver.unpublish_failures.pop(0), "driver is busy")
        unmount(Path(request.target_path))
        return csi.NodeUnpublishVolumeResponse()

    async def NodeGetVolumeStats(self, request: Any, context: Any) -> csi.NodeGetVolumeStatsResponse:
        self._note("NodeGetVolumeStats", request)
        reply = csi.NodeGetVolumeStatsResponse(usage=[csi.VolumeUsage(total=7, unit=csi.VolumeUsage.BYTES)])
        if self._driver.condition is not None:
            reply.volume_condition.CopyFrom(self._driver.condition)
        return reply


class _Registration(registration_grpc.RegistrationServicer):
    def __init__(self, driver: MountingDriver) -> None:
        self._driver = driver

    async def GetInfo(self, request: Any, context: Any) -> registration.PluginInfo:
        self._driver.polls += 1
        if self._driver.silent:
            raise RemoteFailure(StatusCode.INTERNAL, "out of order")
        return registration.PluginInfo(
            type=self._driver.type,
            name=self._driver.name,
            endpoint=self._driver.endpoint,
            supported_versions=self._driver.versions,
        )

    async def NotifyRegistrationStatus(self, request: Any, context: Any) -> registration.RegistrationStatusResponse:
        self._driver.statuses.append(request)
        return registration.RegistrationStatusResponse()


@asynccontextmanager
async def serving(driver: MountingDriver, directory: Path) -> AsyncIterator[MountingDriver]:
    """Serve the driver's CSI socket."""
    driver.endpoint = driver.endpoint or str(directory / f"{driver.name[:3]}.sock")
    async with rpc.serve(
        UnixEndpoint(driver.endpoint), lambda server: csi_grpc.add_NodeServicer_to_server(_Node(driver), server)
    ):
        yield driver


@asynccontextmanager
async def registering(driver: MountingDriver, registry: Path, name: str = "driver-reg.sock") -> AsyncIterator[Path]:
    """Serve a registration socket of the driver in kubelet's registry."""
    registry.mkdir(parents=True, exist_ok=True)
    path = registry / name
    async with rpc.serve(
        UnixEndpoint(str(path)),
        lambda server: registration_grpc.add_RegistrationServicer_to_server(_Registration(driver), server),
    ):
        yield path


def mount(target: Path) -> None:
    """Mount a small tmpfs."""
    target.mkdir(exist_ok=True)
    if _libc.mount(b"tmpfs", os.fsencode(target), b"tmpfs", 0, b"size=64k") != 0:
        raise OSError(ctypes.get_errno(), "mount")


def unmount(target: Path) -> None:
    """Unmount it and remove the target directory, as a driver does."""
    if target.is_mount():
        _libc.umount2(os.fsencode(target), 0)
    if target.exists():
        target.rmdir()
