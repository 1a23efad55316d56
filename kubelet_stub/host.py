"""What all volumes of the node share, and the publish requests built from it."""

import asyncio
from dataclasses import dataclass, field

from kubelet_stub.client import NodeClient
from kubelet_stub.codes import Transient
from kubelet_stub.config import Config
from kubelet_stub.directories import VolumeDirectory, volume_handle
from kubelet_stub.drivers import Drivers
from kubelet_stub.events import EventLog
from kubelet_stub.pods import Pod, Secret, Volume
from kubelet_stub.tokens import TokenIssuer
from protos import csi_pb2 as csi

_PREFIX = "csi.storage.k8s.io/"


@dataclass
class Host:
    """The node: its registered drivers, its Secrets, and its token issuer."""

    config: Config
    events: EventLog
    drivers: Drivers
    tokens: TokenIssuer
    secrets: dict[tuple[str, str], Secret] = field(default_factory=dict)

    def client(self, driver: str, step: str) -> NodeClient:
        """A client for a driver; Transient if it is not registered (https://github.com/kubernetes/kubernetes/issues/120268).
        ``step`` names the operation in the failure, as kubelet does.
        """
        registered = self.drivers.get(driver)
        if registered is None:
            raise Transient(
                f"kubernetes.io/csi: {step} failed to get CSI client: "
                f"driver name {driver} not found in the list of registered CSI drivers"
            )
        return NodeClient(registered.endpoint)

    async def publish_request(self, pod: Pod, volume: Volume) -> csi.NodePublishVolumeRequest:
        """The request without access mode and volume mount group, which depend on the driver's capabilities."""
        request = csi.NodePublishVolumeRequest(
            volume_id=volume_handle(pod.uid, volume.name),
            target_path=str(VolumeDirectory(self.config.pods_directory, pod.uid, volume.name).target),
            readonly=volume.read_only,
            secrets=self._secret(pod, volume),
            volume_context={**volume.attributes, **self._pod_info(pod)},
        )
        request.volume_capability.mount.fs_type = volume.fs_type
        # In a thread: for the first token a key is generated, which takes a tenth of a second.
        tokens = await asyncio.to_thread(self.tokens.attribute, pod, self.config.token_audiences)
        (request.secrets if self.config.token_in_secrets else request.volume_context).update(tokens)
        return request

    def _secret(self, pod: Pod, volume: Volume) -> dict[str, str]:
        if not volume.secret:
            return {}
        secret = self.secrets.get((pod.namespace, volume.secret))
        if secret is None:
            place = f"{pod.namespace}/{volume.secret}"
            raise Transient(f'fetching NodePublishSecretRef {place} failed: secrets "{volume.secret}" not found')
        return dict(secret.data)

    def _pod_info(self, pod: Pod) -> dict[str, str]:
        if not self.config.pod_info_on_mount:
            return {}
        return {
            f"{_PREFIX}pod.name": pod.name,
            f"{_PREFIX}pod.namespace": pod.namespace,
            f"{_PREFIX}pod.uid": pod.uid,
            f"{_PREFIX}serviceAccount.name": pod.service_account,
            f"{_PREFIX}ephemeral": "true",
        }
