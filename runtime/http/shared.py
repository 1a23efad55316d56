"""Pages that are made once for all who ask meanwhile: making them costs more than asking for them.

A client that pipelines, or hundreds that ask at once, would otherwise keep the process from everything else.
"""

import asyncio

from runtime.http.messages import Handler, Request, Response

# After each making the page rests for so many times as long as that took, but no longer than a probe would notice.
REST, MAX_REST_SECONDS = 4.0, 0.02


class SharedPage:
    """A handler around one whose response does not depend on the request. Each response is at least as new as the
    request that it answers."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._next: asyncio.Task[Response] | None = None
        self._running: asyncio.Task[Response] | None = None
        self._rest_until = 0.0

    async def __call__(self, request: Request) -> Response:
        """The response that is made next. Raises what the handler raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._make(self._running, request))
        return await asyncio.shield(self._next)

    async def _make(self, former: "asyncio.Task[Response] | None", request: Request) -> Response:
        loop = asyncio.get_running_loop()
        if former is not None:
            await asyncio.wait([former])
        if (rest := self._rest_until - loop.time()) > 0:
            await asyncio.sleep(rest)
        self._running, self._next = self._next, None
        started = loop.time()
        try:
            return await self._handler(request)
        finally:
            self._running = None
            took = loop.time() - started
            self._rest_until = loop.time() + min(REST * took, MAX_REST_SECONDS)
