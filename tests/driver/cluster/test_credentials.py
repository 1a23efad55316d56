"""Credentials that change under the driver: calls wait, read them anew, and succeed; nobody restarts anything."""

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
    """A call fails for a while with this problem; after ``mend()`` it succeeds."""
    calling = asyncio.create_task(api.call("GET", PATH))
    await until(lambda: problem in api.last_error, f"the problem {problem}")
    assert not calling.done() and callable(mend)
    mend()
    assert (await calling)["major"] == "1"


def test_a_rotated_token(server: FakeApi, tmp_path: Path) -> None:
    """The server knows the new token only: the file is read anew when it has it."""
    path = tmp_path / "kubeconfig"
    server.tokens = {"new": "driver"}
    server.kubeconfig(path, "old")

    async def test(api: Api) -> None:
        await answered_after(api, lambda: server.kubeconfig(path, "new"), "401")

    run(str(path), test)


def test_a_watch_with_a_stale_token(server: FakeApi, tmp_path: Path) -> None:
    """A watch is answered with 401: it ends as unavailable, and the next one has read the file anew."""
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


def test_a_rotated_ca(tls_server: FakeApi, tmp_path: Path) -> None:
    """The server shows a certificate of a new CA: the call waits until the file has that, whole again."""
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


def test_a_ca_without_key_usage(tmp_path: Path) -> None:
    """A CA that leaves extensions out, as in some real clusters, is accepted, whatever Python's strictness is."""
    with FakeApi(Authority("lax", lax=True)) as server:

        async def test(api: Api) -> None:
            assert await api.call("GET", PATH)

        run(server.kubeconfig(tmp_path / "kubeconfig"), test)


@pytest.mark.parametrize("content", [None, "", "a: [", "[]", "apiVersion: v1\nkind: Config\n"])
def test_a_file_that_comes_later(server: FakeApi, tmp_path: Path, content: str | None) -> None:
    """There is no kubeconfig yet, or half of one: the call says so and waits for it."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)

    async def test(api: Api) -> None:
        await answered_after(api, lambda: server.kubeconfig(path), "Error")

    run(str(path), test)


@pytest.fixture
def pod(tls_server: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the service account of a pod that we are in."""
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
    """Address, CA and token are the pod's; the token's file is empty for a moment while it is rotated."""
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
