"""The status page of a node that the test invents, served as the probe serves it, for a browser."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from probe import page
from probe.handlers import LINKS
from runtime import http
from runtime.endpoints import TcpEndpoint
from tools.pictures import sample


class Served:
    """``state`` is what the next request shows, ``now`` its time; ``requests`` are the paths that were asked for."""

    def __init__(self) -> None:
        self.state: Mapping[str, Any] = sample.state()
        self.now = sample.NOW
        self.requests: list[str] = []
        self.port = 0
        self.broken = False

    @property
    def address(self) -> str:
        """The page's."""
        return f"http://127.0.0.1:{self.port}/"

    async def answer(self, request: http.Request) -> http.Response:
        """Serve the page, or a failure."""
        self.requests.append(request.path)
        if self.broken:
            return http.text_response("it is broken", 500)
        text = page.render(self.state, LINKS, self.now)
        return http.Response(text.encode(), content_type="text/html; charset=utf-8", headers=page.headers())


@contextmanager
def serving() -> Iterator[Served]:
    """Serve the page from a thread, since Playwright's calls block."""
    served, started, loop = Served(), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with http.serve(TcpEndpoint("127.0.0.1", 0), {"/": served.answer}) as port:
            served.port = port
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(10)
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
