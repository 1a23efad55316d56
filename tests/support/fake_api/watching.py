"""Watches: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.support.fake_api.calls import Call
from tests.support.fake_api.errors import ApiError, Object
from tests.support.fake_api.faults import Rules
from tests.support.fake_api.paths import Target
from tests.support.fake_api.representation import bookmark, representation
from tests.support.fake_api.selectors import Matcher, matcher
from tests.support.fake_api.store import ADDED, DELETED, MODIFIED, Change, Store

BOOKMARK_SECONDS = 60.0
LONGEST_WATCH_SECONDS = 3600.0


class _End:
    """The watch must end now, as at its timeout."""


# A number is the version of a bookmark to send.
_Item = Change | int | _End


class Watches:
    """The open watches of a server. ``bookmark_seconds`` is the interval of bookmarks, for watches that allow them."""

    def __init__(self, store: Store, rules: Rules, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._rules = rules
        self._loop = loop
        self._open: set[asyncio.Queue[_Item]] = set()
        self.bookmark_seconds = BOOKMARK_SECONDS

    def __len__(self) -> int:
        return len(self._open)

    async def end(self) -> None:
        """End all open watches normally."""
        for queue in self._open:
            queue.put_nowait(_End())

    async def bookmark(self) -> None:
        """Send a bookmark to all open watches, even to those that do not allow them."""
        for queue in self._open:
            self._mark(queue)

    async def stream(self, request: web.BaseRequest, call: Call, target: Target) -> web.StreamResponse:
        """Serve a watch until its timeoutSeconds are over, ``end`` is called or the client disconnects."""
        matches, shown = matcher(call.query), representation(call.headers)
        version, seconds = _version(call.query), _seconds(call.query)
        stream = web.StreamResponse(headers={"Content-Type": "application/json"})
        await stream.prepare(request)
        queue: asyncio.Queue[_Item] = asyncio.Queue()
        try:
            stop = self._store.watch(
                target, version, lambda change: self._loop.call_soon_threadsafe(queue.put_nowait, change)
            )
        except ApiError as error:
            await stream.write(_line("ERROR", error.status_object()))
            return stream
        self._open.add(queue)
        timers = [asyncio.create_task(self._end_later(queue, seconds))]
        if call.query.get("allowWatchBookmarks") in ("1", "true"):
            timers.append(asyncio.create_task(self._mark_for_ever(queue)))
        try:
            while not isinstance(item := await queue.get(), _End):
                await self._rules.pass_on(call)
                if isinstance(item, int):
                    await stream.write(_line("BOOKMARK", bookmark(target, item, call.headers)))
                elif event := _event(item, matches):
                    await stream.write(_line(event[0], shown({**event[1], "apiVersion": target.api_version})))
            return stream
        except ConnectionResetError:  # the client has left
            return stream
        finally:
            stop()
            self._open.discard(queue)
            for timer in timers:
                timer.cancel()

    async def _end_later(self, queue: asyncio.Queue[_Item], seconds: float) -> None:
        await asyncio.sleep(seconds)
        queue.put_nowait(_End())

    async def _mark_for_ever(self, queue: asyncio.Queue[_Item]) -> None:
        while True:
            await asyncio.sleep(self.bookmark_seconds)
            self._mark(queue)

    def _mark(self, queue: asyncio.Queue[_Item]) -> None:
        # Queued behind all changes up to this version, which are already on their way to the queue.
        self._store.in_order(lambda version: self._loop.call_soon_threadsafe(queue.put_nowait, version))


def _event(change: Change, matches: Matcher) -> tuple[str, Object] | None:
    """The event of a change for a watch with selectors, if any. The DELETED event of an object that no longer matches
    contains the last state that did."""
    before = change.former if change.former is not None and matches(change.former) else None
    after = change.item if change.type != DELETED and matches(change.item) else None
    if after is not None:
        return ADDED if before is None else MODIFIED, after
    if before is None:
        return None
    return DELETED, {**before, "metadata": {**before["metadata"], "resourceVersion": str(change.version)}}


def _version(query: Mapping[str, str]) -> int | None:
    text = query.get("resourceVersion", "")
    try:
        return int(text) if text not in ("", "0") else None
    except ValueError:
        # The real server has no better word for it, either.
        raise ApiError(500, f"invalid resourceVersion: {text}") from None


def _seconds(query: Mapping[str, str]) -> float:
    try:
        return float(query.get("timeoutSeconds", LONGEST_WATCH_SECONDS))
    except ValueError:
        raise ApiError(400, "invalid timeoutSeconds") from None


def _line(kind: str, item: Object | Any) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"
