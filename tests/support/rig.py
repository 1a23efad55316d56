"""A whole driver in the test's own process, with manifests, a provider, a CSI client and kubelet's directories.

Everything is real, except that the driver is not a process of its own."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import yaml

from driver import server
from driver.config import DriverConfig
from kubelet_stub.dialing import dial
from protos import csi_pb2, csi_pb2_grpc
from provider_stub.running import RunningStub, running
from tests.support.mounts import forget_record, mount_points, unmount_below

NODE = "node-1"
DRIVER = "secrets-store.csi.k8s.io"
KEY = b"the providers of all nodes name the same versions"
OBJECTS = "array:\n- |\n  objectName: password\n"


@dataclass
class Volume:
    """One volume of a pod: its ids, its target and what kubelet would send."""

    rig: "Rig"
    pod: str = "pod-1"
    name: str = "secrets"
    class_name: str = "app"
    namespace: str = "default"
    attributes: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    uid: str = ""

    @property
    def pod_uid(self) -> str:
        """The pod's UID: one of the API server's, or made up."""
        return self.uid or f"uid-{self.pod}"

    @property
    def target(self) -> Path:
        """The target path."""
        return self.rig.pods_dir / self.pod_uid / "volumes" / "kubernetes.io~csi" / self.name / "mount"

    def request(self) -> csi_pb2.NodePublishVolumeRequest:
        """The publish request as kubelet makes it."""
        context = {
            "csi.storage.k8s.io/pod.name": self.pod,
            "csi.storage.k8s.io/pod.namespace": self.namespace,
            "csi.storage.k8s.io/pod.uid": self.pod_uid,
            "csi.storage.k8s.io/serviceAccount.name": "default",
            "csi.storage.k8s.io/ephemeral": "true",
            "secretProviderClass": self.class_name,
            **self.attributes,
        }
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=f"csi-{self.pod}-{self.name}",
            target_path=str(self.target),
            readonly=True,
            volume_context=context,
            secrets=self.secrets,
        )
        request.volume_capability.mount.volume_mount_group = self.group
        request.volume_capability.access_mode.mode = csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_READER_ONLY
        return request

    async def publish(self, timeout: float = 20.0) -> None:
        """Publish; kubelet has made the parent directory."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        await self.rig.node.NodePublishVolume(self.request(), timeout=timeout)

    async def unpublish(self, timeout: float = 20.0) -> None:
        """Unpublish."""
        request = csi_pb2.NodeUnpublishVolumeRequest(
            volume_id=f"csi-{self.pod}-{self.name}", target_path=str(self.target)
        )
        await self.rig.node.NodeUnpublishVolume(request, timeout=timeout)

    async def failure(self, timeout: float = 20.0) -> tuple[grpc.StatusCode, str]:
        """Publish, which must fail: the code and the sentence."""
        try:
            await self.publish(timeout)
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        raise AssertionError("the publish did not fail")

    def read(self, name: str = "password") -> bytes:
        """A file of the volume."""
        return (self.target / name).read_bytes()

    def remove_record(self) -> None:
        """Take its record from the volume: the Go driver's volumes have none."""
        forget_record(self.target)

    @property
    def mounted(self) -> bool:
        """Whether something is mounted at the target."""
        return str(self.target) in mount_points(self.target)

    @property
    def left_on_disk(self) -> list[str]:
        """What lies where the target is, the target itself included."""
        return sorted(os.listdir(self.target.parent)) if self.target.parent.exists() else []


class Rig:
    """Directories, a provider and a driver that can be stopped and started again."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        self.directory = directory
        self.pods_dir = directory / "pods"
        self.manifests = directory / "manifests"
        self.secrets_dir = directory / "secrets"
        self.providers_dir = directory / "providers"
        for path in (self.pods_dir, self.manifests, self.secrets_dir, self.providers_dir):
            path.mkdir()
        self.config = DriverConfig(
            **{
                "endpoint": f"unix://{directory}/csi.sock",
                "nodeid": NODE,
                "metrics_addr": "",
                "manifests": str(self.manifests),
                "provider_volume": str(self.providers_dir),
                "additional_provider_volume_paths": (),
                "kubelet_pods_dir": str(self.pods_dir),
                "status_directory": str(directory / "status"),
                **config,
            }
        )
        self.provider: RunningStub
        self.driver: server.Driver
        self.node: csi_pb2_grpc.NodeAsyncStub
        self.identity: csi_pb2_grpc.IdentityAsyncStub
        self._running = AsyncExitStack()

    def write_class(self, name: str = "app", namespace: str = "default", **spec: Any) -> None:
        """A SecretProviderClass manifest; ``annotations`` go to its metadata."""
        annotations = spec.pop("annotations", {})
        document = {
            "apiVersion": "secrets-store.csi.x-k8s.io/v1",
            "kind": "SecretProviderClass",
            "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
            "spec": {"provider": "stub", "parameters": {"objects": OBJECTS}, **spec},
        }
        (self.manifests / f"{namespace}.{name}.yaml").write_text(yaml.safe_dump(document))

    def volume(self, pod: str = "pod-1", **options: Any) -> Volume:
        """A volume of a pod on this node."""
        return Volume(self, pod, **options)

    async def start(self) -> None:
        """Start the driver and connect to it."""
        self.driver = await self._running.enter_async_context(server.served(self.config))
        channel = await self._running.enter_async_context(dial(f"{self.directory}/csi.sock"))
        self.node, self.identity = csi_pb2_grpc.NodeStub(channel), csi_pb2_grpc.IdentityStub(channel)

    async def stop(self) -> None:
        """Stop the driver; volumes stay."""
        await self._running.aclose()
        self._running = AsyncExitStack()

    async def restart(self) -> None:
        """As after a kill: what the driver knew is gone."""
        await self.stop()
        await self.start()

    def metric(self, name: str, **labels: str) -> float:
        """A sample of the driver's metrics; 0 if there is none."""
        scope = {
            "otel_scope_name": "sigs.k8s.io/secrets-store-csi-driver",
            "otel_scope_version": "",
            "otel_scope_schema_url": "",
        }
        value = self.driver.metrics.registry.get_sample_value(name, {**labels, "os_type": "linux", **scope})
        return 0.0 if value is None else value


@asynccontextmanager
async def rig(directory: Path, **config: Any) -> AsyncIterator[Rig]:
    """A started rig with one secret, ``password``, and one class, ``app``; at the end nothing stays mounted."""
    made = Rig(directory, config)
    made.write_class()
    async with running(made.providers_dir / "stub.sock", made.secrets_dir, key=KEY) as provider:
        made.provider = provider
        provider.put("password", "s3cret")
        await made.start()
        try:
            yield made
        finally:
            await made.stop()
            await asyncio.to_thread(unmount_below, made.pods_dir)
