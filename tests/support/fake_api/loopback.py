"""An HTTP server on the loopback interface, in a thread of its own, so that synchronous and asyncio tests and other
processes can all use it."""

import asyncio
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import web

from tests.cluster.pki import Pair
from tests.support.fake_api.calls import Call, CallLog, Predicate, read
from tests.support.fake_api.faults import Dropped, Exchange, Fault, Rule, Rules

LARGEST_BODY = 3 * 1024 * 1024
"""In bytes; the same limit as the API server's."""
Result = TypeVar("Result")


class LoopbackServer:
    """A context manager; subclasses implement ``answer``. Its methods may be called from any thread but its own."""

    def __init__(self, name: str, certificate: Pair | None, address: str = "127.0.0.1", port: int = 0) -> None:
        self.address = address
        self.calls = CallLog()
        """The calls so far."""
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self.rules = Rules(self.loop)
        self._context = None if certificate is None else ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if certificate is not None:
            self.present(certificate)
        self._port = port

    @property
    def url(self) -> str:
        """The server's base URL."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http{'s' if self._context else ''}://{host}:{self._port}"

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._server.connections)

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.rules.clear()
        self.run(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def on(
        self, method: str, path: str, fault: Fault, times: int | None = None, where: Predicate | None = None
    ) -> Rule:
        """Strike the next ``times`` calls that match; by default all, until the rule is lifted.

        ``method`` is an HTTP method, ``WATCH`` (``GET`` does not match watches) or ``*``; ``path`` is a regular
        expression that is searched in the path without its query; ``where`` gets the whole call.
        """
        return self.rules.add(method, path, fault, times, where)

    def clear(self) -> None:
        """Lift all rules."""
        self.rules.clear()

    def present(self, certificate: Pair) -> None:
        """Use another certificate from the next TLS handshake on."""
        assert self._context is not None, "the server speaks plain HTTP"
        with NamedTemporaryFile() as file:
            file.write(certificate.certificate + certificate.key)
            file.flush()
            self._context.load_cert_chain(file.name)

    def disconnect(self) -> None:
        """Cut all open connections; new ones are accepted."""
        self.run(self._abort())

    @contextmanager
    def away(self) -> Iterator[None]:
        """Cut all open connections and refuse new ones for the duration of the block."""
        self.run(self._refuse())
        try:
            yield
        finally:
            self.run(self._listen())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the server's thread and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def answer(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        """Handle a call that no fault struck. May raise ``Dropped``."""
        raise NotImplementedError

    async def starting(self) -> None:
        """Called in the server's thread before it listens."""

    async def stopping(self) -> None:
        """Called in the server's thread after the last call."""

    async def _open(self) -> None:
        await self.starting()
        self._server = web.Server(
            self._handle, request_factory=self._request, handler_cancellation=True, access_log=None
        )
        await self._listen()

    async def _listen(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._listener = await self.loop.create_server(
            self._server, self.address, self._port, ssl=self._context, reuse_address=True
        )
        self._port = self._listener.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        self._listener.close()
        await self._abort()

    async def _abort(self) -> None:
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def _close(self) -> None:
        await self._refuse()
        await self._server.shutdown(1)
        await self.stopping()

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        """aiohttp's request with a larger limit for the body."""
        return web.BaseRequest(message, payload, protocol, writer, task, self.loop, client_max_size=LARGEST_BODY)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        call = await read(request)
        self.calls.add(call)
        try:
            rule = self.rules.take(call)
            if rule is None:
                response = await self.answer(request, call)
            else:
                exchange = Exchange(request, call, rule, lambda: self.answer(request, call))
                response = await rule.fault.strike(exchange)
            call.status = response.status
            return response
        except Dropped:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
