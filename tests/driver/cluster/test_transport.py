"""Where the address of the API server and the credentials come from."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from kubernetes.aio.config import incluster_config, kube_config

from driver.cluster import transport
from tests.cluster import kubeconfig
from tests.cluster.pki import Authority
from tests.support.fake_api import FakeApi

SERVER = "https://192.0.2.1:6443"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A kubeconfig."""
    return kubeconfig.write(tmp_path / "kubeconfig", SERVER, Authority("ca").pem, "token")


def host(named: str) -> str:
    """The URL of the API server that is used."""

    async def opened() -> str:
        made = await transport.Transport.open(named)
        await made.close()
        return made.host

    return asyncio.run(opened())


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_explicit_kubeconfig_in_a_pod(
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    """``--kubeconfig`` or $KUBECONFIG is set in a pod → it takes precedence over the service account."""
    (tmp_path / "token").write_text("token")
    monkeypatch.setattr(transport, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setenv("KUBECONFIG", str(file) if by == "environment" else "/nowhere")
    assert host(str(file) if by == "flag" else "") == SERVER


@pytest.mark.parametrize(
    ("service", "port", "url"),
    [
        ("10.96.0.1", "443", "https://10.96.0.1:443"),
        ("fd00::1", "443", "https://[fd00::1]:443"),
        ("2001:db8:0:1:1:1:1:1", "6443", "https://[2001:db8:0:1:1:1:1:1]:6443"),
        ("kubernetes.default.svc", "443", "https://kubernetes.default.svc:443"),
    ],
)
def test_service_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str, port: str, url: str) -> None:
    """In a pod, the API server's service has an address of either family, or a name → its URL; IPv6 in brackets."""
    kubeconfig.write_pod_credentials(tmp_path, Authority("ca").pem, "default", "token")
    for module in (incluster_config, transport):
        monkeypatch.setattr(module, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", service)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert host("") == url


@pytest.mark.parametrize(
    "content", ["", "a: [", "[]", "apiVersion: v1\nkind: Config\n", "\0", "!!bool maybe", "!!int one"]
)
def test_incomplete_kubeconfig(file: Path, content: str) -> None:
    """The kubeconfig is being written → one of CONFIGURATION_ERRORS, after which it is read again."""
    file.write_text(content)
    with pytest.raises(transport.CONFIGURATION_ERRORS):
        host(str(file))


@pytest.mark.parametrize("by", ["flag", "default"])
def test_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """Neither kubeconfig nor service account exists → one of CONFIGURATION_ERRORS."""
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    monkeypatch.setattr(transport, "SERVICE_TOKEN_FILENAME", str(tmp_path / "none"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(transport.CONFIGURATION_ERRORS):
        host(str(tmp_path / "none") if by == "flag" else "")


def test_default_kubeconfig(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is set, outside a pod → kubectl's default file."""
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
def test_proxy_environment(
    server: FakeApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    through_proxy: bool,
) -> None:
    """The API server's name cannot be resolved → calls arrive only through a proxy, which the fake server plays, if the
    environment configures one."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, server.url if value == "PROXY" else value)
    path = kubeconfig.write(tmp_path / "kubeconfig", "http://api.invalid:6443", b"", "token")

    async def call() -> int:
        made = await transport.Transport.open(str(path))
        try:
            async with await made.send("GET", "/version", None, {}, aiohttp.ClientTimeout(10.0)) as response:
                return response.status
        except OSError:
            return 0
        finally:
            await made.close()

    assert asyncio.run(call()) == (200 if through_proxy else 0)
    assert [call.headers["Host"] for call in server.calls.calls()] == ["api.invalid:6443"] * through_proxy
