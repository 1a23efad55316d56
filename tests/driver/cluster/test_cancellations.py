"""Credentials are renewed, or connections close, while many calls wait for a connection: nobody is cancelled by it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from driver.cluster.api import Api
from driver.cluster.transport import Transport
from runtime.errors import Failure
from tests.cluster import kubeconfig
from tests.cluster.pki import Authority
from tests.driver.cluster.connecting import run
from tests.support.fake_api import Answer, Delay, FakeApi
from tests.support.waiting import until

PATH = "/version"
# More than there are connections, so that most calls wait for one.
CALLS = 39


def burst(api: Api) -> list[asyncio.Task[dict[str, object]]]:
    """Many calls at once."""
    return [asyncio.create_task(api.call("GET", PATH)) for _ in range(CALLS)]


async def burst_under_way(api: Api, server: FakeApi) -> list[asyncio.Task[dict[str, object]]]:
    """A burst of calls, the first of which have reached the server."""
    calls = burst(api)
    await until(lambda: len(server.calls.calls()) >= 4, "the first calls")
    return calls


def is_closed(transport: Transport) -> bool:
    """Whether its connections are closed."""
    session = transport.client.pool_manager
    return session is not None and session.closed


async def all_answered(calls: list[asyncio.Task[dict[str, object]]]) -> None:
    """Every call has its answer."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [answer for answer in answers if not isinstance(answer, dict)] == []


def fail_once(server: FakeApi) -> None:
    """One 401, while the token is good."""
    server.on("GET", PATH, Answer(401), times=1)


def fail_often(server: FakeApi) -> None:
    """As many 401s as calls."""
    server.on("GET", PATH, Answer(401), times=CALLS)


def reset_all(server: FakeApi) -> None:
    """Every open connection is reset."""
    server.disconnect()


@pytest.mark.parametrize("fault", [fail_once, fail_often, reset_all])
def test_a_fault_under_load(server: FakeApi, tmp_path: Path, fault: Callable[[FakeApi], None]) -> None:
    """Scenario: 39 calls at once, slow answers, and a 401 or a reset among them. Expected: all are answered."""
    path = tmp_path / "kubeconfig"
    server.kubeconfig(path)

    async def test(api: Api) -> None:
        slow = server.on("GET", PATH, Delay(0.2))  # all, so that none has its answer before the fault
        calls = await burst_under_way(api, server)
        fault(server)
        slow.lift()
        await all_answered(calls)

    run(str(path), test)


def test_a_certificate_of_another_ca_under_load(tls_server: FakeApi, tmp_path: Path) -> None:
    """Scenario: the server shows a certificate of a new CA while 39 calls wait. Expected: all are answered once the
    file names that CA."""
    path = tmp_path / "kubeconfig"
    tls_server.kubeconfig(path)
    other = Authority("other")

    async def test(api: Api) -> None:
        assert await api.call("GET", PATH)
        tls_server.on("GET", PATH, Delay(0.2), times=8)
        calls = await burst_under_way(api, tls_server)
        tls_server.present(other.server(["127.0.0.1"]))
        tls_server.disconnect()
        await until(lambda: "Certificate" in api.last_error, "a TLS failure")
        kubeconfig.write(path, tls_server.url, other.pem, "token")
        await all_answered(calls)

    run(str(path), test)


def test_connections_that_close_under_a_call(server: FakeApi, tmp_path: Path) -> None:
    """Scenario: the pool is closed by others while calls wait for a connection and for an answer. Expected: all are
    answered."""
    path = tmp_path / "kubeconfig"
    server.kubeconfig(path)

    async def test(api: Api) -> None:
        server.on("GET", PATH, Delay(0.3), times=8)
        calls = await burst_under_way(api, server)
        await api.close()
        await all_answered(calls)

    run(str(path), test)


def test_a_watch_goes_on_when_credentials_are_renewed(server: FakeApi, tmp_path: Path) -> None:
    """Scenario: a call gets a 401 while a watch is open. Expected: the watch still delivers events."""
    path = tmp_path / "kubeconfig"
    server.kubeconfig(path)

    async def test(api: Api) -> None:
        events = api.watch("/api/v1/pods", {"watch": "true"}, "application/json")
        server.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-1"}})
        assert (await anext(events))["type"] == "ADDED"
        fail_once(server)
        assert await api.call("GET", PATH)
        server.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-2"}})
        assert (await anext(events))["object"]["metadata"]["name"] == "pod-2"
        await events.aclose()

    run(str(path), test)


def test_a_watch_under_which_connections_are_given_up(server: FakeApi, tmp_path: Path) -> None:
    """Scenario: the connections are closed while a watch waits for its next event. Expected: aiohttp would leave the
    watch waiting for ever; so its connection is kept, delivers events, and is closed after the watch."""
    path = tmp_path / "kubeconfig"
    server.kubeconfig(path)

    async def test(api: Api) -> None:
        events = api.watch("/api/v1/pods", {"watch": "true"}, "application/json")
        server.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-1"}})
        assert (await anext(events))["type"] == "ADDED"
        transport = api._connections.transport
        assert transport is not None
        await api.close()
        server.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-2"}})
        assert (await anext(events))["object"]["metadata"]["name"] == "pod-2"
        assert not is_closed(transport)
        await events.aclose()
        assert is_closed(transport)

    run(str(path), test)


def test_a_requested_cancellation_still_ends_a_call(server: FakeApi, tmp_path: Path) -> None:
    """Scenario: callers' timeouts and cancellations while all connections are busy. Expected: they end those calls at
    once, and no others."""
    path = tmp_path / "kubeconfig"
    server.kubeconfig(path)

    async def test(api: Api) -> None:
        slow = server.on("GET", PATH, Delay(1.0))
        calls = await burst_under_way(api, server)
        calls[-1].cancel()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await api.call("GET", PATH)
        slow.lift()
        with pytest.raises(asyncio.CancelledError):
            await calls[-1]
        await all_answered(calls[:-1])

    run(str(path), test)


def test_old_connections_are_closed_after_their_last_user(server: FakeApi, tmp_path: Path) -> None:
    """Scenario: credentials are renewed ten times under load. Expected: no old pool of connections stays open."""
    path = tmp_path / "kubeconfig"
    server.kubeconfig(path)

    async def test(api: Api) -> None:
        old = []
        for _ in range(10):
            await api.call("GET", PATH)
            assert api._connections.transport is not None
            old.append(api._connections.transport)
            fail_once(server)
            await all_answered(burst(api))
        assert api._connections.transport not in old
        assert all(map(is_closed, old))
        with pytest.raises(Failure):
            await api.call("GET", "/no such path")

    run(str(path), test)
