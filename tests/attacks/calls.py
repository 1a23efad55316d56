"""kubelet's calls to a container that is under attack."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
import yaml

from protos import csi_pb2, csi_pb2_grpc


def write_class(directory: Path, name: str, provider: str, parameters: Mapping[str, str]) -> None:
    """Write the manifest of a class into the directory of a container of ``tests.container.test_whole``."""
    (directory / "manifests" / f"{name}.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "secrets-store.csi.x-k8s.io/v1",
                "kind": "SecretProviderClass",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"provider": provider, "parameters": dict(parameters)},
            }
        )
    )


def target_path(directory: Path, pod: str) -> Path:
    """Where the volume of a pod is mounted."""
    return directory / f"kubelet/pods/uid-{pod}/volumes/kubernetes.io~csi/secrets/mount"


def unpublish(directory: Path, pod: str, seconds: float = 10.0) -> str:
    """Unpublish a volume; returns the details of the call's error, or an empty text."""
    request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=f"csi-{pod}", target_path=str(target_path(directory, pod)))
    with _node(directory) as stub:
        try:
            stub.NodeUnpublishVolume(request, timeout=seconds, wait_for_ready=True)
        except grpc.RpcError as error:
            return str(error.details())
    return ""


@contextmanager
def _node(directory: Path) -> Iterator[csi_pb2_grpc.NodeStub]:
    options = [("grpc.default_authority", "localhost")]
    with grpc.insecure_channel(f"unix:{directory}/csi.sock", options=options) as channel:
        yield csi_pb2_grpc.NodeStub(channel)


def publish(
    directory: Path,
    pod: str,
    class_name: str,
    secrets: Mapping[str, str],
    context: Mapping[str, str],
    seconds: float = 10.0,
    namespace: str = "default",
) -> str:
    """Publish a volume; returns the details of the call's error, or an empty text."""
    target = target_path(directory, pod)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = "csi.storage.k8s.io/"
    request = csi_pb2.NodePublishVolumeRequest(
        volume_id=f"csi-{pod}",
        target_path=str(target),
        readonly=True,
        secrets=secrets,
        volume_context={
            "secretProviderClass": class_name,
            f"{prefix}pod.name": pod,
            f"{prefix}pod.namespace": namespace,
            f"{prefix}pod.uid": f"uid-{pod}",
            f"{prefix}ephemeral": "true",
            **context,
        },
    )
    request.volume_capability.mount.SetInParent()
    request.volume_capability.access_mode.mode = csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
    with _node(directory) as stub:
        try:
            stub.NodePublishVolume(request, timeout=seconds, wait_for_ready=True)
        except grpc.RpcError as error:
            return str(error.details())
    return ""
