"""A real OpenBao beside the real node, with the provider as the chart installs it."""

import base64
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.cluster.api import Object
from tests.cluster.openbao import allow, trust
from tests.helm import chart
from tests.kubelet import host
from tests.kubelet.rig import NAMESPACE, RELEASE, KubeletRig
from tests.stores.openbao import OpenBao


class OpenBaoRig:
    """``rig`` is the node with the driver, ``bao`` the server, whose state is on disk: it can be sealed."""

    def __init__(self, rig: KubeletRig, bao: OpenBao) -> None:
        self.rig, self.bao = rig, bao

    def allow(self, name: str, *rules: str) -> None:
        """A service account, and a role of its name that allows it what the ``rules`` say."""
        self.rig.node.cluster.service_account("default", name)
        allow(self.bao, name, "default", name, *rules)

    def apply_class(
        self,
        name: str,
        objects: str,
        mount: str = "kubernetes",
        role: str = "",
        secret_objects: list[Object] | None = None,
    ) -> None:
        """A class; its role has its name, unless ``role`` says otherwise. The provider knows the server's address."""
        self.rig.apply_class(
            name,
            objects=objects,
            secret_objects=secret_objects,
            provider="openbao",
            roleName=role or name,
            vaultAuthMountPath=mount,
            audience="vault",
        )

    def pod(self, name: str, account: str, class_name: str = "", env: Mapping[str, str] | None = None) -> Object:
        """A pod of a service account with a class, by default the one of the account's name."""
        manifest = self.rig.pod_manifest(name, {"secrets": class_name or account}, env=env)
        manifest["spec"]["serviceAccountName"] = account
        return manifest

    def until_event(self, pod: str, *phrases: str) -> None:
        """Wait for a FailedMount event of the pod with all of the phrases."""

        def there() -> bool:
            events = [item for item in self.rig.events(pod) if item.startswith("FailedMount")]
            return any(all(phrase in item for phrase in phrases) for item in events)

        self.rig.node.until(there, f"a FailedMount event of {pod} with {phrases}")


@contextmanager
def openbao_rig(rig: KubeletRig, directory: Path) -> Iterator[OpenBaoRig]:
    """The server, and the release upgraded to have its provider; at the end the release is what it was."""
    storage = directory / "storage"
    storage.mkdir()
    with OpenBao(directory, storage, address=host.ADDRESS) as bao:
        bao.initialize()
        bao.write("sys/mounts/secret", type="kv", options={"version": "2"})
        trust(bao, rig.node.cluster)
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        metadata = {"name": "openbao-version-key", "namespace": NAMESPACE}
        rig.node.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"key": key}})
        provider = {
            "enabled": True,
            "address": bao.url,
            "keySecret": "openbao-version-key",
            "revokeOnUnpublish": True,
            "resources": {"limits": {"cpu": "1", "memory": "128Mi"}},
        }
        values = directory / "openbao-values.yaml"
        values.write_text(yaml.safe_dump({"providers": {"openbao": provider}}))
        arguments = (*rig.values(), f"--values={values}")
        rig.helm("upgrade", RELEASE, str(chart.CHART), "--wait", "--timeout=90s", *arguments)
        try:
            yield OpenBaoRig(rig, bao)
        finally:
            rig.helm("rollback", RELEASE, "--wait", "--timeout=90s", f"--namespace={NAMESPACE}")
