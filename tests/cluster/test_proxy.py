"""The fault proxy in front of the real API server: each fault does what its docstring says, and nothing else
changes."""

import json
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPResponse

import pytest

from tests.cluster.api import Api, ApiError, Object
from tests.cluster.proxy import FaultProxy
from tests.cluster.servers import ControlPlane
from tests.support.fake_api.faults import Answer, Delay, Drop, Silence, WatchError
from tests.support.waiting import wait_until


@pytest.fixture
def client(cluster: ControlPlane, namespace: str, proxy: FaultProxy) -> Api:
    """A client of the proxy that may edit its namespace."""
    cluster.service_account(namespace, "editor")
    cluster.api.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"namespace": namespace, "name": "editor"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "editor"}],
        }
    )
    context = ssl.create_default_context(cadata=proxy.ca.decode())
    return Api(proxy.url, context, cluster.token(namespace, "editor"))


@pytest.fixture
def worker() -> Iterator[ThreadPoolExecutor]:
    """A thread for calls that block."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_without_rules_nothing_changes(client: Api, namespace: str, proxy: FaultProxy) -> None:
    """No rules; objects are created, read, refused and deleted → responses and errors are the API server's."""
    path = client.path(client.create(_config_map(namespace, size=1_500)))
    assert len(client.get(path)["data"]["key"]) == 1_500
    assert pytest.raises(ApiError, client.create, _config_map(namespace)).value.reason == "AlreadyExists"
    client.delete(path)
    assert client.find(path) is None
    last = proxy.calls.calls()[-1]
    assert (last.method, last.path, last.status) == ("GET", path, 404)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (409, "Conflict"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
    ],
)
def test_the_next_calls_are_refused(
    status: int,
    reason: str,
    client: Api,
    namespace: str,
    proxy: FaultProxy,
) -> None:
    """A rule for two POSTs of ConfigMaps → two errors and no object; other calls and the third POST pass."""
    rule = proxy.on("POST", r"/configmaps$", Answer(status, retry_after=1), times=2)
    for _ in range(2):
        refused = pytest.raises(ApiError, client.create, _config_map(namespace)).value
        assert (refused.status, refused.reason) == (status, reason)
        assert client.find(client.path(_config_map(namespace))) is None
    client.create(_config_map(namespace))
    assert rule.hits == 2


def test_retry_after_is_a_header(client: Api, namespace: str, proxy: FaultProxy) -> None:
    """A 429 has a Retry-After header, as the API server's own has."""
    proxy.on("WATCH", r"/configmaps$", Answer(429, retry_after=7))
    refused = client.fetch(f"/api/v1/namespaces/{namespace}/configmaps", watch="true")
    assert (refused.status, refused.getheader("Retry-After")) == (429, "7")


def test_a_call_is_dropped_before_or_after_its_work(client: Api, namespace: str, proxy: FaultProxy) -> None:
    """The connection is closed without a response → before the API server's work nothing exists, after it the object
    does."""
    path = client.path(_config_map(namespace))
    for done in (False, True):
        proxy.clear()
        rule = proxy.on("POST", r"/configmaps$", Drop(done=done), times=2 if not done else 1)
        if not done:
            with pytest.raises(OSError):
                client.create(_config_map(namespace))
        else:
            # The client retries on a new connection, and so finds what its first attempt has created.
            assert pytest.raises(ApiError, client.create, _config_map(namespace)).value.status == 409
        assert rule.hits == rule.times
        assert (client.find(path) is not None) is done
    assert [call.status for call in proxy.calls.calls() if call.method == "POST"] == [0, 0, 0, 409]


def test_a_call_is_delayed(client: Api, namespace: str, proxy: FaultProxy) -> None:
    """A GET is delayed → it takes that time and gets the API server's response."""
    proxy.on("GET", "/configmaps$", Delay(0.3), times=1)
    started = time.monotonic()
    assert client.get(f"/api/v1/namespaces/{namespace}/configmaps")["kind"] == "ConfigMapList"
    assert time.monotonic() - started >= 0.3


def test_a_silent_call_waits_for_the_rule_to_be_lifted(
    client: Api,
    namespace: str,
    proxy: FaultProxy,
    worker: ThreadPoolExecutor,
) -> None:
    """A GET is held back → it is answered once the rule is lifted."""
    rule = proxy.on("GET", "/configmaps$", Silence())
    held = worker.submit(client.get, f"/api/v1/namespaces/{namespace}/configmaps")
    wait_until(lambda: rule.hits == 1, "the call to be held")
    assert not held.done()
    rule.lift()
    assert held.result(10)["kind"] == "ConfigMapList"


def test_an_open_watch_falls_silent(
    client: Api,
    namespace: str,
    proxy: FaultProxy,
    worker: ThreadPoolExecutor,
) -> None:
    """Two watches, one opened before the rule and one after it → the first is silent until the rule is lifted, the
    second works."""
    old = _watch(client, namespace)
    rule = proxy.on("WATCH", "/configmaps$", Silence(open_only=True))
    new = _watch(client, namespace)
    client.create(_config_map(namespace))
    assert _event(new)["object"]["metadata"]["name"] == "example"
    silent: Future[Object] = worker.submit(_event, old)
    assert not silent.done()
    rule.lift()
    assert silent.result(10)["object"]["metadata"]["name"] == "example"


def test_an_expired_watch(client: Api, namespace: str, proxy: FaultProxy) -> None:
    """A new watch gets an ERROR event with 410 and ends, or a plain 410."""
    proxy.on("WATCH", "/configmaps$", WatchError(), times=1)
    expired = _watch(client, namespace)
    event = _event(expired)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert expired.read() == b""
    proxy.on("WATCH", "/configmaps$", Answer(410), times=1)
    assert client.fetch(f"/api/v1/namespaces/{namespace}/configmaps", watch="true").status == 410


def test_the_proxy_goes_away_and_comes_back(client: Api, namespace: str, proxy: FaultProxy) -> None:
    """The proxy is away → an open watch breaks and new calls are refused; it is back → the same address serves
    again."""
    watch = _watch(client, namespace)
    with proxy.away():
        assert _is_over(watch)
        with pytest.raises(ConnectionRefusedError):
            client.get("/version")
    assert client.get("/version")["major"] == "1"


def test_open_connections_are_cut(client: Api, namespace: str, proxy: FaultProxy) -> None:
    """All connections are cut → an open watch breaks, a new one works at once."""
    watch = _watch(client, namespace)
    proxy.disconnect()
    assert _is_over(watch)
    _watch(client, namespace)


def test_the_api_server_behind_it_is_down(cluster: ControlPlane, client: Api, proxy: FaultProxy) -> None:
    """The API server is killed → the client sees a broken connection, not a response that no API server would send."""
    with cluster.outage(), pytest.raises(OSError):
        client.get("/version")
    assert client.get("/version")["major"] == "1"


def _config_map(namespace: str, size: int = 1) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": "example"},
        "data": {"key": "x" * size},
    }


def _watch(client: Api, namespace: str) -> HTTPResponse:
    """A watch of the test's own ConfigMap, open when this returns."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    return client.open(path, watch="true", fieldSelector="metadata.name=example", timeoutSeconds="30")


def _event(watch: HTTPResponse) -> Object:
    event: Object = json.loads(watch.readline())
    return event


def _is_over(watch: HTTPResponse) -> bool:
    """Whether the watch ends, well before the time it was opened for."""
    started = time.monotonic()
    try:
        return watch.readline() == b"" and time.monotonic() - started < 10
    except OSError:
        return True
