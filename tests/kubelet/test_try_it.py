"""The example that the README applies, on a real node."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.kubelet import images
from tests.kubelet.rig import KubeletRig

EXAMPLE = (Path(__file__).resolve().parents[2] / "examples" / "try-it.yaml").read_text()


@pytest.fixture
def applied(rig: KubeletRig) -> Iterator[KubeletRig]:
    """The example, with this node's images, and a provider's name of its own: the node has a stub already."""
    text = EXAMPLE.replace("secrets-store-csi:0.1.0", f"{rig.repository}:{rig.tag}")
    text = text.replace("image: busybox", f"image: {images.BUSYBOX}")
    text = text.replace("stub.sock", "try-it.sock").replace("provider: stub", "provider: try-it")
    documents = list(yaml.safe_load_all(text))
    rig.node.cluster.kubectl("apply", "--filename", "-", stdin=text)
    yield rig
    rig.node.cluster.kubectl("delete", "--grace-period=1", "--filename", "-", stdin=text)
    assert [item["kind"] for item in documents] == ["Secret", "DaemonSet", "SecretProviderClass", "Pod"]


def test_the_pod_has_its_secret(applied: KubeletRig) -> None:
    """``kubectl wait`` and ``kubectl logs``, as the README has them → the pod is ready, and prints the secret."""
    kubectl = applied.node.cluster.kubectl
    kubectl("wait", "--for=condition=Ready", "pod/try-it", "--timeout=3m")
    assert kubectl("logs", "try-it") == "correct horse\n"
