"""A single watch: its events, and how it ends. The only exceptions are Expired and other Failures."""

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
    """Create an object for the watch."""
    server.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}})


def open_watch(server: FakeApi, api: Api, idle_seconds: float = 10.0) -> AsyncGenerator[dict[str, Any], None]:
    """A watch from the current version."""
    query = {"watch": "true", "resourceVersion": str(server.store.version)}
    return api.watch(PODS, query, "application/json", idle_seconds)


def test_events(server: FakeApi, kubeconfig: str) -> None:
    """Objects change, and the server ends the watch normally → all events and bookmarks in order, and no error."""

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
    "JSON null": (Page("null\n"), Unavailable),
    "another JSON object": (Page('{"error": "please log in"}\n'), Unavailable),
    "an event without object": (Page('{"type": "ADDED", "object": null}\n'), Unavailable),
    "an error event without object": (Page('{"type": "ERROR"}\n'), Unavailable),
    "an object without version": (Page('{"type": "ADDED", "object": {"metadata": {}}}\n'), Unavailable),
    "endless JSON": (Page("[" * 100_000 + "\n"), Unavailable),
    "dropped": (Drop(), Unavailable),
    "half a line": (HalfAnswer(), Unavailable),
}


@pytest.mark.parametrize(("fault", "expected"), ENDS.values(), ids=ENDS)
def test_failures(server: FakeApi, kubeconfig: str, fault: Fault, expected: type[Failure]) -> None:
    """The server rejects or breaks the watch → one Failure that contains the path; the next watch works."""
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


def test_connection_is_cut(server: FakeApi, kubeconfig: str) -> None:
    """The connection of an idle watch is cut → Unavailable at once."""

    async def test(api: Api) -> None:
        listening = asyncio.create_task(anext(open_watch(server, api)))
        await until(lambda: len(server.watches), "the watch to be open")
        server.disconnect()
        with pytest.raises(Unavailable):
            await listening

    run(kubeconfig, test)


@pytest.mark.parametrize("after_an_event", [False, True])
def test_idle_timeout(server: FakeApi, kubeconfig: str, after_an_event: bool) -> None:
    """No event arrives for ``idle_seconds`` → Unavailable. Bookmarks alone keep the watch open."""
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


def test_server_is_unreachable(server: FakeApi, kubeconfig: str) -> None:
    """No connection, or no kubeconfig → Unavailable instead of a library's exception."""

    async def test(api: Api) -> None:
        with server.away(), pytest.raises(Unavailable):
            await anext(open_watch(server, api))
        with pytest.raises(Unavailable):
            await anext(open_watch(server, Api("/nowhere")))

    run(kubeconfig, test)


@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_abandoned_watch_is_closed(server: FakeApi, kubeconfig: str, how: str) -> None:
    """The caller closes or cancels the watch → the server sees the connection close."""

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
