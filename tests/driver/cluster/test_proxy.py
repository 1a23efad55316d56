"""Which proxy leads to the API server: the rules of Go's net/http, and real connections through a real proxy."""

import asyncio
import io
import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.cluster import proxy
from driver.cluster.api import Api
from tests.cluster import kubeconfig
from tests.cluster.pki import Authority
from tests.driver.cluster.connecting import run
from tests.support.connect_proxy import ConnectProxy
from tests.support.fake_api import FakeApi
from tests.support.waiting import until

NAME = "api.invalid"
VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")
PASSWORD = "p/s@s-canary"
AUTHORIZATION = f"Basic {b64encode(f'user:{PASSWORD}'.encode()).decode()}"
CREDENTIALS = "user:p%2Fs%40s-canary"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("host", "no_proxy", "exempt"),
    [
        # networks
        ("10.96.0.1", "10.96.0.0/12", True),
        ("10.96.0.1", "192.168.0.0/16, 10.0.0.0/8", True),
        ("10.112.0.1", "10.96.0.0/12", False),
        ("10.96.0.1", "10.96.0.1/32", True),
        ("10.96.0.1", "10.96.7.7/12", True),
        ("10.96.0.1", "10.96.0.0/33", False),
        ("fd00::1", "fd00::/8", True),
        ("fd00::1", "10.0.0.0/8", False),
        ("::ffff:10.96.0.1", "10.96.0.0/12", True),
        ("10.96.0.1", "::ffff:10.96.0.0/108", True),
        ("10.112.0.1", "::ffff:10.96.0.0/108", False),
        ("10.96.0.1", "::ffff:0:0/95", False),
        ("api.example", "10.96.0.0/12", False),
        # addresses
        ("10.96.0.1", "10.96.0.1", True),
        ("10.96.0.1", "10.96.0.10", False),
        ("10.96.0.1", "10.96.0.1:443", True),
        ("10.96.0.1", "10.96.0.1:6443", False),
        ("fd00::1", "fd00::1", True),
        ("fd00::1", "FD00:0:0::1", True),
        ("fd00::1", "[fd00::1]", True),
        ("fd00::1", "[fd00::1]:443", True),
        ("fd00::1", "[fd00::1]:6443", False),
        # domains
        ("api.example", "api.example", True),
        ("api.example", "API.Example", True),
        ("a.api.example", "api.example", True),
        ("my-api.example", "api.example", False),
        ("api.example", ".api.example", False),
        ("a.api.example", ".api.example", True),
        ("api.example", "*.example", True),
        ("api.example", "*.api.example", False),
        ("api.example", "api.example:443", True),
        ("api.example", "api.example:6443", False),
        ("api.example", ".example:443", True),
        ("api.example", "a*.example", False),
        ("api.example", "*api.example", False),
        ("my-api.example", "*api.example", False),
        ("xn--bcher-kva.example", "bücher.example", True),
        # lists
        ("api.example", "*", True),
        ("10.96.0.1", "other.example,*", True),
        ("api.example", " , other.example ,api.example ", True),
        ("api.example", "", False),
        ("api.example", ":443", False),
        ("api.example", "other.example api.example", False),
    ],
)
def test_no_proxy(host: str, no_proxy: str, exempt: bool) -> None:
    """A host at port 443 and a NO_PROXY → whether Go would exempt it."""
    assert proxy.is_exempt(host, 443, no_proxy) is exempt


@pytest.mark.parametrize(
    ("server", "environment", "url"),
    [
        ("https://10.96.0.1:443", {"HTTPS_PROXY": "http://one:1"}, "http://one:1"),
        ("https://10.96.0.1:443", {"https_proxy": "http://two:2"}, "http://two:2"),
        ("https://10.96.0.1:443", {"https_proxy": "http://two:2", "HTTPS_PROXY": "http://one:1"}, "http://one:1"),
        ("https://10.96.0.1:443", {"https_proxy": "http://two:2", "HTTPS_PROXY": ""}, "http://two:2"),
        ("https://10.96.0.1:443", {"HTTP_PROXY": "http://one:1", "ALL_PROXY": "http://one:1"}, None),
        ("http://10.96.0.1:80", {"HTTP_PROXY": "http://one:1"}, "http://one:1"),
        ("https://[fd00::1]:443", {"HTTPS_PROXY": "one:1\n"}, "http://one:1"),
        ("https://[fd00::1]", {"HTTPS_PROXY": "one:1", "no_proxy": "[fd00::1]:443"}, None),
        ("https://10.96.0.1", {"HTTPS_PROXY": "one:1", "NO_PROXY": "10.96.0.1:443"}, None),
        ("https://10.96.0.1", {"HTTPS_PROXY": "one:1", "NO_PROXY": "a", "no_proxy": "10.96.0.1"}, "http://one:1"),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "one:1"}, None),
        ("https://[::1]:6443", {"HTTPS_PROXY": "one:1"}, None),
        ("https://localhost:6443", {"HTTPS_PROXY": "one:1"}, None),
        ("https://localhost.example", {"HTTPS_PROXY": "https://one"}, "https://one"),
        ("https://10.96.0.1", {"HTTPS_PROXY": "http://[fd00::9]:3128"}, "http://[fd00::9]:3128"),
    ],
)
def test_environment(server: str, environment: dict[str, str], url: str | None) -> None:
    """An API server's URL and the variables → the proxy that Go would use, or none."""
    found = proxy.from_environment(server, environment)
    assert (found.url if found else None) == url


@pytest.mark.parametrize(
    "text", ["socks5://canary:canary@one:1", "http://", "http://user:p/canary@one:1", "http://u:canary@one:port", "://"]
)
def test_unusable_proxy(text: str) -> None:
    """A proxy that cannot be used → a sentence that names the variable and repeats nothing of the value."""
    with pytest.raises(ValueError, match=r"HTTPS_PROXY is not the URL of a proxy.*percent-encoded") as raised:
        proxy.from_environment("https://10.96.0.1", {"HTTPS_PROXY": text})
    assert "canary" not in str(raised.value)


def test_credentials_are_separated() -> None:
    """A URL with credentials → a header with the decoded ones; they are in no text of the proxy."""
    found = proxy.parse(f"http://{CREDENTIALS}@one:3128", "proxy-url")
    assert (found.url, found.authorization) == ("http://one:3128", AUTHORIZATION)
    assert "canary" not in repr(found) and AUTHORIZATION not in repr(found)
    assert proxy.parse("http://user@one", "proxy-url").authorization == f"Basic {b64encode(b'user:').decode()}"


@pytest.fixture
def named_server() -> Iterator[FakeApi]:
    """A fake API server whose certificate is that of a name that cannot be resolved."""
    authority = Authority("named")
    with FakeApi(authority) as server:
        server.present(authority.server([NAME]))
        yield server


@pytest.fixture
def through(named_server: FakeApi) -> Iterator[ConnectProxy]:
    """A proxy to it."""
    with ConnectProxy(("127.0.0.1", int(named_server.url.rpartition(":")[2]))) as running:
        yield running


def config_file(directory: Path, server: FakeApi, url: str = f"https://{NAME}:6443", **cluster: str) -> str:
    """A kubeconfig with further fields of the cluster."""
    assert server.authority is not None
    path = kubeconfig.write(directory / "kubeconfig", url, server.authority.pem, "token")
    content = json.loads(path.read_text())
    content["clusters"][0]["cluster"].update(cluster)
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize("by", ["environment", "kubeconfig"])
def test_proxy_with_credentials(
    named_server: FakeApi,
    through: ConnectProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logged: io.StringIO,
    by: str,
) -> None:
    """The proxy requires credentials: while they are wrong, calls wait and the log has the status 407; with the right
    ones from the environment, or from the kubeconfig in spite of NO_PROXY, they pass. Neither the API server nor the
    log sees the credentials."""
    through.required = "Basic others"
    url = f"http://{CREDENTIALS}@127.0.0.1:{through.port}"
    if by == "environment":
        monkeypatch.setenv("HTTPS_PROXY", url)
        path = config_file(tmp_path, named_server)
    else:
        monkeypatch.setenv("NO_PROXY", "*")
        path = config_file(tmp_path, named_server, **{"proxy-url": url})

    async def test(api: Api) -> None:
        calling = asyncio.create_task(api.call("GET", "/version"))
        await until(lambda: "Proxy" in api.last_error, "the refusal of the proxy")
        assert not calling.done() and through.targets == []
        through.required = AUTHORIZATION
        assert (await calling)["major"] == "1"

    run(path, test)
    assert set(through.targets) == {f"{NAME}:6443"}
    assert "407" in logged.getvalue()
    for secret in (PASSWORD, CREDENTIALS, AUTHORIZATION):
        assert secret not in logged.getvalue()
    assert all("Proxy-Authorization" not in call.headers for call in named_server.calls.calls())


def test_plain_http_through_a_proxy_with_credentials(
    server: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An API server over plain HTTP: the fake one plays the proxy → it gets the credentials with the call."""
    monkeypatch.setenv("http_proxy", server.url.replace("://", f"://{CREDENTIALS}@"))
    path = kubeconfig.write(tmp_path / "kubeconfig", f"http://{NAME}:6443", b"", "token")

    async def test(api: Api) -> None:
        assert await api.call("GET", "/version")

    run(str(path), test)
    assert server.calls.calls()[0].headers["Proxy-Authorization"] == AUTHORIZATION


def test_unusable_proxy_is_logged(
    named_server: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    """HTTPS_PROXY names a SOCKS proxy → calls wait, and one log line says what to write."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:canary@one:1")

    async def test(api: Api) -> None:
        calling = asyncio.create_task(api.call("GET", "/version"))
        await until(lambda: "HTTPS_PROXY" in logged.getvalue(), "the log line")
        monkeypatch.delenv("HTTPS_PROXY")
        calling.cancel()

    run(config_file(tmp_path, named_server), test)
    assert "SOCKS is not supported" in logged.getvalue() and "canary" not in logged.getvalue()


DIRECT = {
    "a network": ({"NO_PROXY": "10.96.0.0/12"}, False),
    "another network": ({"NO_PROXY": "10.112.0.0/12"}, True),
    "the address with its port": ({"no_proxy": "10.96.0.1:{port}"}, False),
    "the address with another port": ({"no_proxy": "10.96.0.1:1"}, True),
    "nothing": ({}, True),
    "everything": ({"NO_PROXY": "*"}, False),
}


def test_which_connections_go_through(tmp_path: Path) -> None:
    """A pod in a network that has the address of the cluster's service → its calls go through the proxy, or directly to
    the address, as NO_PROXY says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.driver.cluster.service_network", str(tmp_path)],
        input=json.dumps([environment for environment, _ in DIRECT.values()]),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ},
    )
    assert done.returncode == 0, done.stderr
    assert dict(zip(DIRECT, json.loads(done.stdout), strict=True)) == {
        name: proxied for name, (_, proxied) in DIRECT.items()
    }
