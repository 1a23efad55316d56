"""Where the API server's address and our credentials come from."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from kubernetes.aio.config import kube_config

from driver.cluster import api, transport
from tests.cluster import kubeconfig
from tests.cluster.pki import Authority
from tests.support.fake_api import FakeApi

SERVER = "https://192.0.2.1:6443"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A kubeconfig."""
    return kubeconfig.write(tmp_path / "kubeconfig", SERVER, Authority("ca").pem, "token")


def host(named: str) -> str:
    """The server that is talked to."""

    async def opened() -> str:
        made = await transport.Transport.open(named)
        await made.close()
        return made.host

    return asyncio.run(opened())


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_a_named_file_comes_before_the_service_account(
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    """In a pod: --kubeconfig and $KUBECONFIG are both said by a person, the service account is there by itself."""
    (tmp_path / "token").write_text("token")
    monkeypatch.setattr(transport, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setenv("KUBECONFIG", str(file) if by == "environment" else "/nowhere")
    assert host(str(file) if by == "flag" else "") == SERVER


@pytest.mark.parametrize("content", ["", "a: [", "[]", "apiVersion: v1\nkind: Config\n", "\0"])
def test_a_file_that_is_half_there(file: Path, content: str) -> None:
    """It is being written: an error after which it is read again, not a bug."""
    file.write_text(content)
    with pytest.raises(transport.CONFIGURATION_ERRORS):
        host(str(file))


@pytest.mark.parametrize("by", ["flag", "default"])
def test_there_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """Neither a file nor a service account: an error after which it is looked for again."""
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.setattr(transport, "SERVICE_TOKEN_FILENAME", str(tmp_path / "none"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(transport.CONFIGURATION_ERRORS):
        host(str(tmp_path / "none") if by == "flag" else "")


def test_the_default_file(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a developer's machine: what kubectl uses."""
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    monkeypatch.setattr(transport, "SERVICE_TOKEN_FILENAME", str(tmp_path / "none"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert host("") == SERVER


@pytest.mark.parametrize(
    ("environment", "through_proxy"),
    [
        ({"http_proxy": "PROXY"}, True),
        ({"HTTP_PROXY": "PROXY"}, True),
        ({"http_proxy": "PROXY", "no_proxy": "api.invalid"}, False),
        ({"http_proxy": "PROXY", "NO_PROXY": "*"}, False),
        ({"https_proxy": "PROXY"}, False),
        ({}, False),
    ],
)
def test_proxies_of_the_environment(
    server: FakeApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    through_proxy: bool,
) -> None:
    """The API server's name means nothing here: a call arrives only by the proxy, which the fake server plays."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, server.url if value == "PROXY" else value)
    path = kubeconfig.write(tmp_path / "kubeconfig", "http://api.invalid:6443", b"", "token")

    async def call() -> int:
        made = await transport.Transport.open(str(path))
        try:
            async with await api._send(made, "GET", "/version", None, {}, aiohttp.ClientTimeout(10.0)) as response:
                return response.status
        except OSError:
            return 0
        finally:
            await made.close()

    assert asyncio.run(call()) == (200 if through_proxy else 0)
    assert [call.headers["Host"] for call in server.calls.calls()] == ["api.invalid:6443"] * through_proxy
