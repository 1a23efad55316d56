"""A reverse proxy in front of the API server that answers, delays, drops or stalls the calls that a test chooses.

    with FaultProxy(cluster.url, cluster.client_context()) as proxy:
        rule = proxy.on("POST", r"/secrets$", Answer(429, retry_after=1), times=2)
        ...                                     # the client talks to proxy.url and trusts proxy.ca
        assert rule.hits == 2

It terminates TLS with a CA of its own, so a client must come with a token (a client certificate does not pass). Faults,
rules and the log of calls are those of the fake API server.
"""

import ssl

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from yarl import URL

from tests.cluster.pki import Authority
from tests.support.fake_api.calls import Call
from tests.support.fake_api.faults import Dropped
from tests.support.fake_api.loopback import LoopbackServer

# These headers belong to one connection; each side of the proxy has its own.
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length", "host"}


class FaultProxy(LoopbackServer):
    """The proxy; a context manager. Everything public may be called from any thread but the proxy's own."""

    def __init__(self, upstream: str, context: ssl.SSLContext, *, lax_ca: bool = False) -> None:
        authority = Authority("tests-proxy-ca", lax=lax_ca)
        super().__init__("fault-proxy", authority.server(["127.0.0.1", "localhost"]))
        self._upstream = upstream
        self._upstream_context = context
        self.ca = authority.pem
        """The CA certificate by which clients verify the proxy."""

    async def starting(self) -> None:
        """As the base class."""
        connector = TCPConnector(limit=0, ssl=self._upstream_context)
        timeout = ClientTimeout(total=None, sock_connect=10)
        self._session = ClientSession(connector=connector, timeout=timeout, auto_decompress=False)

    async def stopping(self) -> None:
        """As the base class."""
        await self._session.close()

    async def answer(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        """Forward to the API server and pass on its response, a watch event by event."""
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        try:
            async with self._session.request(
                request.method,
                URL(self._upstream + request.raw_path, encoded=True),
                headers=headers,
                data=await request.read(),
                allow_redirects=False,
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            ) as answer:
                kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
                if call.verb != "watch":
                    return web.Response(status=answer.status, body=await answer.read(), headers=kept)
                stream = web.StreamResponse(status=answer.status, headers=kept)
                await stream.prepare(request)
                async for chunk in answer.content.iter_any():
                    await self.rules.pass_on(call)
                    await stream.write(chunk)
                await stream.write_eof()
                return stream
        except ClientError:
            raise Dropped from None
