"""Credentials change while the driver runs: calls wait, reload the credentials and succeed."""

import asyncio
from pathlib import Path

import pytest

from driver.cluster.api import Api
from runtime.errors import Unavailable
from tests.cluster import kubeconfig
from tests.cluster.pki import Authority
from tests.driver.cluster.connecting import run
from tests.support.fake_api import FakeApi
from tests.support.waiting import until

PATH = "/version"
HOSTS = ["127.0.0.1"]


async def answered_after(api: Api, mend: object, problem: str) -> None:
    """Start a call, wait until it fails with ``problem``, fix the cause with ``mend`` and wait for the response."""
    calling = asyncio.create_task(api.call("GET", PATH))
    await until(lambda: problem in api.last_error, f"the problem {problem}")
    assert not calling.done() and callable(mend)
    mend()
    assert (await calling)["major"] == "1"


def test_token_is_rotated(server: FakeApi, tmp_path: Path) -> None:
    """The server accepts only a new token → the call succeeds once the kubeconfig contains it."""
    path = tmp_path / "kubeconfig"
    server.tokens = {"new": "driver"}
    server.kubeconfig(path, "old")

    async def test(api: Api) -> None:
        await answered_after(api, lambda: server.kubeconfig(path, "new"), "401")

    run(str(path), test)


def test_watch_with_a_stale_token(server: FakeApi, tmp_path: Path) -> None:
    """A watch gets a 401 → Unavailable; the next watch uses the new token."""
    path = tmp_path / "kubeconfig"
    server.tokens = {"new": "driver"}
    server.kubeconfig(path, "old")

    async def test(api: Api) -> None:
        events = api.watch("/api/v1/pods", {"watch": "true"}, "application/json")
        with pytest.raises(Unavailable):
            await anext(events)
        server.kubeconfig(path, "new")
        server.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-1"}})
        events = api.watch("/api/v1/pods", {"watch": "true"}, "application/json")
        assert (await anext(events))["type"] == "ADDED"
        await events.aclose()

    run(str(path), test)


def test_ca_is_rotated(tls_server: FakeApi, tmp_path: Path) -> None:
    """The server presents a certificate of a new CA → the call succeeds once the kubeconfig is complete and contains
    that CA."""
    path = tmp_path / "kubeconfig"
    tls_server.kubeconfig(path)
    other = Authority("other")

    def mend() -> None:
        new = kubeconfig.write(tmp_path / "new", tls_server.url, other.pem, "token").read_text()
        path.write_text(new[: len(new) // 2])  # it is being written
        path.write_text(new)

    async def test(api: Api) -> None:
        assert await api.call("GET", PATH)
        tls_server.present(other.server(HOSTS))
        tls_server.disconnect()
        await answered_after(api, mend, "Certificate")

    run(str(path), test)


def test_ca_without_key_usage(tmp_path: Path) -> None:
    """The CA certificate lacks keyUsage, as in some real clusters → it is accepted, even where Python is strict."""
    with FakeApi(Authority("lax", lax=True)) as server:

        async def test(api: Api) -> None:
            assert await api.call("GET", PATH)

        run(server.kubeconfig(tmp_path / "kubeconfig"), test)


@pytest.mark.parametrize("content", [None, "", "a: [", "[]", "apiVersion: v1\nkind: Config\n"])
def test_kubeconfig_appears_later(server: FakeApi, tmp_path: Path, content: str | None) -> None:
    """The kubeconfig is missing or incomplete → the call waits, with the reason in ``last_error``, and succeeds once it
    is complete."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)

    async def test(api: Api) -> None:
        await answered_after(api, lambda: server.kubeconfig(path), "Error")

    run(str(path), test)


@pytest.fixture
def pod(tls_server: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The service account directory of a pod in which the test seems to run."""
    from kubernetes.aio.config import incluster_config

    from driver.cluster import transport

    directory = tmp_path / "serviceaccount"
    assert tls_server.authority is not None
    kubeconfig.write_pod_credentials(directory, tls_server.authority.pem, "default", "first")
    host, port = tls_server.url.removeprefix("https://").split(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    for module in (incluster_config, transport):
        monkeypatch.setattr(module, "SERVICE_TOKEN_FILENAME", str(directory / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(directory / "ca.crt"))
    return directory


def test_in_a_pod(tls_server: FakeApi, pod: Path) -> None:
    """No kubeconfig → address, CA and token are the pod's; while kubelet rotates the token, its file may be empty for a
    moment."""
    assert tls_server.authority is not None
    ca = tls_server.authority.pem
    tls_server.tokens = {"first": "driver"}

    async def test(api: Api) -> None:
        assert await api.call("GET", PATH)
        (pod / "token").write_text("")
        tls_server.tokens = {"second": "driver"}
        calling = asyncio.create_task(api.call("GET", PATH))
        await until(lambda: "Error" in api.last_error, "the empty file to be noticed")
        kubeconfig.write_pod_credentials(pod, ca, "default", "second")
        await calling
        assert tls_server.calls.calls()[-1].token == "second"

    run("", test)
