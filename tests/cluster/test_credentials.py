"""The driver's credentials change while it runs: a token, a client certificate, a CA; and a CA without keyUsage."""

import asyncio
import datetime
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from driver.cluster.api import Api
from tests.cluster import kubeconfig
from tests.cluster.attempts import Attempts
from tests.cluster.proxy import FaultProxy
from tests.cluster.rig import ACCOUNT, ClusterRig, grant
from tests.support.waiting import run_async, until


def test_rotated_token(cluster_rig: ClusterRig, monkeypatch: pytest.MonkeyPatch, attempts: Attempts) -> None:
    """In a pod the token is revoked and its file is empty for a moment → calls wait; kubelet writes a new token → they
    succeed without a restart."""
    from kubernetes.aio.config import incluster_config

    from driver.cluster import transport

    cluster_rig.make_class()
    cluster_rig.make_class("other")
    directory = cluster_rig.directory / "serviceaccount"
    host, port = cluster_rig.cluster.url.removeprefix("https://").split(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    for module in (incluster_config, transport):
        monkeypatch.setattr(module, "SERVICE_TOKEN_FILENAME", str(directory / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(directory / "ca.crt"))
    secret = cluster_rig.api.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": cluster_rig.namespace, "name": "life"}}
    )
    bound = {"apiVersion": "v1", "kind": "Secret", "name": "life", "uid": secret["metadata"]["uid"]}
    first = cluster_rig.cluster.token(cluster_rig.namespace, ACCOUNT, bound_to=bound)
    second = cluster_rig.cluster.token(cluster_rig.namespace, ACCOUNT)
    kubeconfig.write_pod_credentials(directory, cluster_rig.cluster.ca, cluster_rig.namespace, first)

    async def test() -> None:
        api = Api("")
        try:
            await api.call("GET", cluster_rig.path("secretproviderclasses", "app"))
            cluster_rig.api.delete(cluster_rig.path("secrets", "life"))
            (directory / "token").write_text("")

            async def refused() -> str:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await api.call("GET", cluster_rig.path("secretproviderclasses", "app"))
                return api.last_error

            await until(refused, "the old token to be refused", 60)
            calling = asyncio.create_task(api.call("GET", cluster_rig.path("secretproviderclasses", "other")))
            await attempts.more(2)
            assert not calling.done()
            kubeconfig.write_pod_credentials(directory, cluster_rig.cluster.ca, cluster_rig.namespace, second)
            assert (await calling)["metadata"]["name"] == "other"
        finally:
            await api.close()

    run_async(test)


def test_expired_client_certificate(cluster_rig: ClusterRig, attempts: Attempts) -> None:
    """The kubeconfig's client certificate has expired → calls wait; the file gets a new one → they succeed."""
    cluster_rig.make_class()
    path = cluster_rig.directory / "kubeconfig"
    authority, group = cluster_rig.cluster.authority, "rbac.authorization.k8s.io"
    grant(cluster_rig.cluster, cluster_rig.namespace, cluster_rig.rules)
    expired = authority.client("late-driver", (), datetime.timedelta(minutes=-1))
    kubeconfig.write(path, cluster_rig.cluster.url, cluster_rig.cluster.ca, expired)
    cluster_rig.api.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{cluster_rig.namespace}-late"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": f"{cluster_rig.namespace}-{ACCOUNT}"},
            "subjects": [{"kind": "User", "name": "late-driver", "apiGroup": group}],
        }
    )

    async def test() -> None:
        api = Api(str(path))
        try:
            calling = asyncio.create_task(api.call("GET", cluster_rig.path("secretproviderclasses", "app")))
            await until(lambda: api.last_error, "an error")
            await attempts.more(2)
            assert not calling.done() and api.last_error
            kubeconfig.write(path, cluster_rig.cluster.url, cluster_rig.cluster.ca, authority.client("late-driver"))
            assert (await calling)["metadata"]["name"] == "app"
        finally:
            await api.close()

    run_async(test)


def test_rotated_ca(cluster_rig: ClusterRig, proxy: FaultProxy, attempts: Attempts) -> None:
    """The API server has a certificate of a new CA → calls wait, also while the kubeconfig is half written; it has the
    new CA → they succeed."""
    cluster_rig.make_class()
    path = Path(cluster_rig.kubeconfig(proxy))
    new = path.read_text()
    token = cluster_rig.cluster.token(cluster_rig.namespace, ACCOUNT)
    kubeconfig.write(path, proxy.url, cluster_rig.cluster.ca, token)

    async def test() -> None:
        api = Api(str(path))
        try:
            calling = asyncio.create_task(api.call("GET", cluster_rig.path("secretproviderclasses", "app")))
            await until(lambda: api.last_error, "an error")
            assert not calling.done() and "Certificate" in api.last_error
            path.write_text(new[: len(new) // 2])  # being written
            await attempts.more(2)
            assert not calling.done()
            path.write_text(new)
            assert (await calling)["metadata"]["name"] == "app"
        finally:
            await api.close()

    run_async(test)


def test_ca_without_key_usage(cluster_rig: ClusterRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA without keyUsage while TLS checks certificates strictly, as Python 3.13 does by default → the driver accepts
    it, as Go does."""
    cluster_rig.make_class()
    original = ssl.create_default_context

    def strict(*arguments: Any, **options: Any) -> ssl.SSLContext:
        context = original(*arguments, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    with FaultProxy(cluster_rig.cluster.url, cluster_rig.cluster.client_context(), lax_ca=True) as proxy:
        monkeypatch.setattr(ssl, "create_default_context", strict)

        async def test() -> None:
            api = Api(cluster_rig.kubeconfig(proxy))
            try:
                assert (await api.call("GET", cluster_rig.path("secretproviderclasses", "app")))["kind"]
            finally:
                await api.close()

        run_async(test)
