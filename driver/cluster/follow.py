"""Follows a collection of objects by a watch that is resumed, and started again with a list where that is impossible.

A watch ends all the time: by its timeout, with a connection, because it was silent for too long. It is resumed at its
last event. If that is impossible, or the resourceVersion is too old (410), the objects are listed again. Before each
there is a pause with jitter, because all clients reconnect to an API server that was away.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

from driver.cluster.answers import Expired, NotServed
from driver.cluster.api import Api
from runtime import logs
from runtime.errors import Failure, Unavailable

log = logs.get(__name__)

FIRST_PAUSE, LAST_PAUSE = 0.5, 60.0
# After a watch that lasted this long, the next one starts without back-off.
LASTING_SECONDS = 30.0
MIN_WATCH_SECONDS, MAX_WATCH_SECONDS = 300, 600

Object = dict[str, Any]
NO_QUERY: Mapping[str, str] = MappingProxyType({})


class Follower:
    """One collection at ``path``; ``run`` follows it.

    ``on_list`` lists what its owner needs and returns the resourceVersion at which the watch starts. ``on_event`` gets
    each event but bookmarks. ``forbidden`` is logged if the watch is rejected; ``query`` is
    added to the watch, such as a selector.
    """

    def __init__(
        self,
        api: Api,
        path: str,
        accept: str,
        idle_seconds: float,
        *,
        on_list: Callable[[], Awaitable[str]],
        on_event: Callable[[Object], Awaitable[None]],
        forbidden: str,
        query: Mapping[str, str] = NO_QUERY,
    ) -> None:
        self._api = api
        self._path = path
        self._accept = accept
        self._idle_seconds = idle_seconds
        self._on_list = on_list
        self._on_event = on_event
        self._forbidden = forbidden
        self._query = query
        # The resourceVersion of the last event (empty before the first list), and whether this watch has sent any.
        self._version = ""
        self._any_event = False
        self._logged = ""

    async def run(self) -> None:
        """Follow until cancelled."""
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        while True:
            started = loop.time()
            try:
                if not self._version:
                    self._version = await self._on_list()
                await self._watch()
            except Failure as failure:
                self._log_end(failure)
                if isinstance(failure, Expired) or not self._any_event:
                    self._version = ""
            pause = min(pause * 2, LAST_PAUSE) if loop.time() - started < LASTING_SECONDS else FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.25, 0.75))

    def _log_end(self, failure: Failure) -> None:
        """A warning only if the watch was rejected, and once: watches that end are normal."""
        if isinstance(failure, (Expired, Unavailable)):
            log.verbose(2, "A watch ended; starting again", path=self._path, reason=failure)
        elif str(failure) != self._logged:
            self._logged = str(failure)
            if isinstance(failure, NotServed):
                log.warning("The API server does not know the objects to be watched", err=failure)
            else:
                log.warning(self._forbidden, err=failure)

    async def _watch(self) -> None:
        self._any_event = False
        query = {
            **self._query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(random.randint(MIN_WATCH_SECONDS, MAX_WATCH_SECONDS)),
        }
        events = self._api.watch(self._path, query, self._accept, self._idle_seconds)
        async with contextlib.aclosing(events):
            async for event in events:
                if event["type"] != "BOOKMARK":
                    await self._on_event(event)
                # After the event was handled: if that fails, the watch is resumed before it.
                self._version, self._any_event = event["object"]["metadata"]["resourceVersion"], True
