"""Secrets of a real OpenBao as Kubernetes Secrets, with a real API server that issues and reviews the tokens."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from driver.ports import Pod
from provider_kit.testing import running
from provider_openbao.main import OpenBaoConfig, make
from tests.cluster.conftest import REQUIRED
from tests.cluster.openbao import allow, trust
from tests.cluster.rig import ClusterRig
from tests.cluster.secret_sync.rig import SecretSyncRig
from tests.cluster.servers import ControlPlane
from tests.stores.identities import TOKENS
from tests.stores.openbao import OpenBao, program
from tests.support.namespace_rig import NamespaceRig
from tests.support.rig import Rig, Volume
from tests.support.syncing import owners, values
from tests.support.waiting import run_async, until, until_blocking

SYNC = [{"secretName": "synced", "type": "Opaque", "data": [{"objectName": "password", "key": "pw"}]}]
TLS = [
    {
        "secretName": "web",
        "type": "kubernetes.io/tls",
        "data": [{"objectName": "crt", "key": "tls.crt"}, {"objectName": "key", "key": "tls.key"}],
    }
]


@pytest.fixture(scope="module")
def bao(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A server that trusts the cluster's tokens; skip or fail if it is not installed."""
    if not program():
        sentence = "no OpenBao: make test-cluster installs it"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)
    with OpenBao(tmp_path_factory.mktemp("openbao")) as server:
        trust(server, cluster)
        yield server


def make_class(rig: NamespaceRig, bao: OpenBao, mount: str, *objects: dict[str, Any], **spec: Any) -> None:
    """The namespace's class ``app``, with the role of the namespace's name."""
    parameters = {
        "vaultAddress": bao.url,
        "vaultAuthMountPath": mount,
        "roleName": rig.namespace,
        "audience": "vault",
        "objects": yaml.safe_dump(list(objects)),
    }
    rig.make_class(provider="openbao", parameters=parameters, **spec)


def password(rig: NamespaceRig) -> dict[str, Any]:
    """An entry of ``objects``."""
    return {"objectName": "password", "secretPath": f"secret/data/{rig.namespace}", "secretKey": "password"}


def pods_volume(rig: ClusterRig, made: Rig, pod: Pod) -> Volume:
    """The pod's volume with a real token, which is bound to the pod, as kubelet gets it."""
    bound = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
    token = rig.cluster.token(rig.namespace, "default", audiences=["vault"], bound_to=bound)
    tokens = {"vault": {"token": token, "expirationTimestamp": "2036-01-01T00:00:00Z"}}
    return rig.volume(made, pod, attributes={TOKENS: json.dumps(tokens)})


@asynccontextmanager
async def with_openbao(rig: ClusterRig) -> AsyncIterator[Rig]:
    """A driver that rotates, with the provider."""
    async with (
        rig.driver(enable_secret_rotation=True, rotation_poll_interval=0.2) as made,
        running(make(OpenBaoConfig()), made.providers_dir / "openbao.sock"),
    ):
        yield made


@pytest.mark.parametrize("mount", ["kubernetes", "jwt"])
def test_secret_objects(cluster_rig: ClusterRig, bao: OpenBao, mount: str) -> None:
    """A pod mounts a class with secretObjects → the Secret has the store's value, its pod status owns it; the
    value changes in the store → the file and the Secret follow; the pod is deleted → the Secret is collected."""
    bao.put(cluster_rig.namespace, password="one")
    allow(bao, cluster_rig.namespace, cluster_rig.namespace, "default", f"secret/data/{cluster_rig.namespace} read")
    make_class(cluster_rig, bao, mount, password(cluster_rig), secretObjects=SYNC)
    pod = cluster_rig.make_pod()

    async def scenario() -> None:
        async with with_openbao(cluster_rig) as made:
            volume = pods_volume(cluster_rig, made, pod)
            await volume.publish()
            assert volume.read() == b"one"

            def secret_is(value: bytes) -> bool:
                return values(cluster_rig.secret("synced")) == {"pw": value}

            await until_blocking(lambda: secret_is(b"one"), "the Secret")
            assert owners(cluster_rig.secret("synced")) == [
                ("SecretProviderClassPodStatus", f"{pod.name}-{cluster_rig.namespace}-app")
            ]
            bao.put(cluster_rig.namespace, password="two")

            async def rotated() -> bool:
                await volume.publish()
                return volume.read() == b"two"

            await until(rotated, "the file to rotate", 30, 0.3)
            await until_blocking(lambda: secret_is(b"two"), "the Secret to rotate")
            await volume.unpublish()
            cluster_rig.api.delete(cluster_rig.path("pods", pod.name))
            await until_blocking(lambda: cluster_rig.secret("synced") is None, "the Secret to be collected", 60)

    run_async(scenario, 150)


def test_certificate(cluster_rig: ClusterRig, bao: OpenBao) -> None:
    """A certificate of the PKI engine as a Secret of type kubernetes.io/tls → certificate and key belong together, and
    a refresh does not issue another."""
    bao.write("sys/mounts/pki", type="pki")
    bao.write("pki/root/generate/internal", common_name="root.example.com")
    bao.write("pki/roles/web", allow_any_name=True, key_type="ec", key_bits=256)
    allow(bao, cluster_rig.namespace, cluster_rig.namespace, "default", "pki/issue/web update")
    arguments = {"common_name": "web.example.com", "ttl": "24h"}
    issue = {"secretPath": "pki/issue/web", "method": "PUT", "secretArgs": arguments}
    make_class(
        cluster_rig,
        bao,
        "kubernetes",
        {"objectName": "crt", "secretKey": "certificate", **issue},
        {"objectName": "key", "secretKey": "private_key", **issue},
        secretObjects=TLS,
    )
    pod = cluster_rig.make_pod()

    async def scenario() -> None:
        async with with_openbao(cluster_rig) as made:
            volume, since = pods_volume(cluster_rig, made, pod), bao.mark()
            await volume.publish()
            found = await until_blocking(lambda: cluster_rig.secret("web"), "the Secret") or {}
            assert found["type"] == "kubernetes.io/tls"
            assert {key: value.strip() for key, value in (values(found) or {}).items()} == {
                "tls.crt": volume.read("crt"),
                "tls.key": volume.read("key"),
            }
            before = volume.read("crt")
            state = made.driver.volumes.get(str(volume.target))
            assert state is not None
            state.refreshed_at = None  # due
            await volume.publish()
            assert volume.read("crt") == before and len(bao.calls("pki/issue/web", since)) == 1

    run_async(scenario)


@pytest.mark.parametrize("mount", ["kubernetes", "jwt"])
def test_secret_sync(cluster: ControlPlane, namespace: str, tmp_path: Path, bao: OpenBao, mount: str) -> None:
    """A SecretSync, whose controller gets a token of spec.serviceAccountName → the Secret without a pod; the value
    changes in the store → the next sync has it; an account that the role does not allow → the condition has the
    provider's sentence, and the Secret that is there stays."""
    rig = SecretSyncRig(cluster, namespace, tmp_path)
    for account in ("default", "other"):
        cluster.service_account(namespace, account)
    bao.put(namespace, password="one")
    allow(bao, namespace, namespace, "default", f"secret/data/{namespace} read")
    make_class(rig, bao, mount, password(rig))
    rig.make_sync()
    rig.make_sync("foreign", serviceAccountName="other")

    async def scenario() -> None:
        settings = {"token_request_audience": ("vault",), "rotation_poll_interval": 1.0}
        async with running(make(OpenBaoConfig()), rig.provider_dir / "openbao.sock"), rig.controller(**settings):
            await rig.until_secret({"pw": b"one"})
            await rig.until_condition("SecretCreated", "CreateSuccessful")
            bao.put(namespace, password="two")
            await rig.until_secret({"pw": b"two"})
            failed = await rig.until_condition("SecretCreated", "ProviderError", "foreign")
            assert f"role '{namespace}' must allow the service account {namespace}/other" in failed["message"]
            assert rig.secret("foreign") is None
            bao.policy(namespace, "secret/data/nothing read")
            refused = await rig.until_condition("SecretUpdated", "ProviderError")
            assert f"role '{namespace}' may not read secret/data/{namespace}" in refused["message"]
            assert values(rig.secret("app")) == {"pw": b"two"}

    run_async(scenario)
