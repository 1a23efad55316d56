"""One watch: its events, and how it ends. A watch never raises anything but Expired, or a Failure that says who is
unavailable or forbidden."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from driver.cluster.answers import Expired
from driver.cluster.api import Api
from runtime.errors import Failure, PermissionDenied, Unavailable
from tests.driver.cluster.connecting import run
from tests.support.fake_api import Answer, Drop, FakeApi, Fault, HalfAnswer, Page, Silence, WatchError
from tests.support.waiting import until

PODS = "/api/v1/pods"


@pytest.fixture
def kubeconfig(server: FakeApi, tmp_path: Path) -> str:
    """For the fake server."""
    return server.kubeconfig(tmp_path / "kubeconfig")


def create_pod(server: FakeApi, name: str = "pod-1") -> None:
    """An object to hear of."""
    server.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}})


def open_watch(server: FakeApi, api: Api, idle_seconds: float = 10.0) -> AsyncGenerator[dict[str, Any], None]:
    """A watch from now on."""
    query = {"watch": "true", "resourceVersion": str(server.store.version)}
    return api.watch(PODS, query, "application/json", idle_seconds)


def test_events_until_the_server_ends_it(server: FakeApi, kubeconfig: str) -> None:
    """Events and bookmarks arrive in their order; a watch whose time is over ends without an error."""

    async def test(api: Api) -> None:
        events = open_watch(server, api)
        create_pod(server)
        assert (await anext(events))["object"]["metadata"]["name"] == "pod-1"
        server.delete("/api/v1/namespaces/default/pods/pod-1")
        server.send_bookmarks()
        server.end_watches()
        assert [event["type"] async for event in events] == ["DELETED", "BOOKMARK"]

    run(kubeconfig, test)


ENDS: dict[str, tuple[Fault, type[Failure]]] = {
    "410": (Answer(410), Expired),
    "410 as an event": (WatchError(410), Expired),
    "500 as an event": (WatchError(500), Unavailable),
    "403": (Answer(403), PermissionDenied),
    "401": (Answer(401), Unavailable),
    "429": (Answer(429), Unavailable),
    "500": (Answer(500), Unavailable),
    "503": (Answer(503), Unavailable),
    "no JSON": (Page(), Unavailable),
    "dropped": (Drop(), Unavailable),
    "half a line": (HalfAnswer(), Unavailable),
}


@pytest.mark.parametrize(("fault", "expected"), ENDS.values(), ids=ENDS)
def test_how_it_ends(server: FakeApi, kubeconfig: str, fault: Fault, expected: type[Failure]) -> None:
    """Refused, broken or spoilt: one failure that names the path; it is opened once, and the next one works."""
    times = 2 if isinstance(fault, Drop) else 1  # aiohttp repeats a GET once if nothing has come back

    async def test(api: Api) -> None:
        rule = server.on("WATCH", "", fault, times=times)
        with pytest.raises(expected, match=f"{PODS}.*") as raised:
            await anext(open_watch(server, api))
        assert type(raised.value) is expected and rule.hits == times
        events = open_watch(server, api)
        create_pod(server)
        assert (await anext(events))["type"] == "ADDED"
        await events.aclose()

    run(kubeconfig, test)


def test_the_connection_is_cut(server: FakeApi, kubeconfig: str) -> None:
    """In the middle of an idle watch: unavailable, at once."""

    async def test(api: Api) -> None:
        listening = asyncio.create_task(anext(open_watch(server, api)))
        await until(lambda: len(server.watches), "the watch to be open")
        server.disconnect()
        with pytest.raises(Unavailable):
            await listening

    run(kubeconfig, test)


@pytest.mark.parametrize("after_an_event", [False, True])
def test_it_falls_silent(server: FakeApi, kubeconfig: str, after_an_event: bool) -> None:
    """Nothing comes, not even a bookmark, for as long as may be: unavailable. Bookmarks alone keep it open."""
    server.watches.bookmark_seconds = 0.05

    async def test(api: Api) -> None:
        query = {"watch": "true", "resourceVersion": str(server.store.version), "allowWatchBookmarks": "true"}
        events = api.watch(PODS, query, "application/json", 0.4)
        if after_an_event:
            for _ in range(12):
                assert (await anext(events))["type"] == "BOOKMARK"
        server.on("WATCH", "", Silence())
        started = time.monotonic()
        with pytest.raises(Unavailable):
            async for _ in events:
                pass
        assert time.monotonic() - started >= 0.3

    run(kubeconfig, test)


def test_a_server_that_is_away(server: FakeApi, kubeconfig: str) -> None:
    """No connection, and no kubeconfig: unavailable in both cases, not an error of some library."""

    async def test(api: Api) -> None:
        with server.away(), pytest.raises(Unavailable):
            await anext(open_watch(server, api))
        with pytest.raises(Unavailable):
            await anext(open_watch(server, Api("/nowhere")))

    run(kubeconfig, test)


@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_a_watch_that_is_left_gives_its_connection_back(server: FakeApi, kubeconfig: str, how: str) -> None:
    """The caller goes, as at the driver's end: the server sees it at once."""

    async def leave(api: Api) -> None:
        events = open_watch(server, api)
        async with contextlib.aclosing(events):
            await anext(events)

    async def listen(api: Api) -> None:
        async for _ in open_watch(server, api):
            pass

    async def test(api: Api) -> None:
        action: Callable[[Api], Any] = leave if how == "closed" else listen
        listening = asyncio.create_task(action(api))
        await until(lambda: len(server.watches), "the watch to be open")
        if how == "closed":
            create_pod(server)
        else:
            listening.cancel()
        await asyncio.wait([listening])
        await until(lambda: not len(server.watches), "the watch to be closed")

    run(kubeconfig, test)
