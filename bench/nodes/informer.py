"""An informer as client-go's: a list from the API server's cache, then a watch of whole objects, for ever.

What arrives is given on as it is; only what its user asks for is decoded, because the client's own CPU time is not
measured, and takes that of the servers away.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable
from contextlib import aclosing
from urllib.parse import urlencode

from bench.nodes.throttled import ThrottledClient

# client-go, tools/cache/reflector.go: the back-off after a watch that failed, and how long a watch lasts.
FIRST_PAUSE, LAST_PAUSE, FORGET_SECONDS = 0.8, 30.0, 120.0
MIN_WATCH_SECONDS = 300
_LIST_VERSION = re.compile(rb'"metadata":\{(?:"continue":"[^"]*",)?"resourceVersion":"(\d+)"')
_VERSION = re.compile(rb'"resourceVersion":"(\d+)"')
_EXPIRED = re.compile(rb'"code":410\b')


class Informer:
    """Follows the collection at ``path``; ``run`` does so. ``on_list`` gets the body of a list, ``on_event`` each line
    of a watch that is about an object."""

    def __init__(
        self,
        client: ThrottledClient,
        path: str,
        on_list: Callable[[bytes], None],
        on_event: Callable[[bytes], None],
        **selector: str,
    ) -> None:
        self._client, self._path, self._selector = client, path, selector
        self._on_list, self._on_event = on_list, on_event
        self._version, self._list_from = "", "0"
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled."""
        pause = FIRST_PAUSE
        while True:
            started = time.monotonic()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except OSError:
                if time.monotonic() - started > FORGET_SECONDS:
                    pause = FIRST_PAUSE
                await asyncio.sleep(pause * random.uniform(1.0, 2.0))
                pause = min(2 * pause, LAST_PAUSE)

    async def _list(self) -> None:
        """From the cache at first; after a version that was too old, the newest."""
        query = {**self._selector, "limit": "500", "resourceVersion": self._list_from}
        if not self._list_from:
            del query["resourceVersion"], query["limit"]
        status, body = await self._client.raw("GET", f"{self._path}?{urlencode(query)}")
        if status != 200:
            raise ConnectionError(f"a list of {self._path} was answered with status {status}")
        self._version = _found(_LIST_VERSION, body)
        self._on_list(body)
        self.synced.set()

    async def _watch(self) -> None:
        seconds = random.randint(MIN_WATCH_SECONDS, 2 * MIN_WATCH_SECONDS)
        query = {
            **self._selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        async with aclosing(self._client.watch(f"{self._path}?{urlencode(query)}")) as lines:
            async for line in lines:
                if line.startswith(b'{"type":"ERROR"'):
                    if _EXPIRED.search(line):
                        self._version, self._list_from = "", ""
                    raise ConnectionError("the watch ended with an error event")
                self._version = _found(_VERSION, line)
                if not line.startswith(b'{"type":"BOOKMARK"'):
                    self._on_event(line)


def _found(pattern: re.Pattern[bytes], text: bytes) -> str:
    found = pattern.search(text)
    if found is None:
        raise ConnectionError(f"an answer without a resourceVersion: {text[:200]!r}")
    return found[1].decode()
