"""Calls of the HTTP API (https://openbao.org/api-docs/): one session, bounded in time, size and repetition.

What is repeated: calls that did not reach a server, and those that it refused for the moment (429, 503 and the like),
at most ``ATTEMPTS`` times with jitter. A server that names a time (``Retry-After``) gets no call at all before it,
whoever makes it: 100 pods that start together are not 300 calls. What is not repeated: a call that timed out, because
the driver repeats it anyway, and one for a sealed server, which only people can change. Nor 500, which an engine or an
auth method answers that failed, for instance because its database is away: the call may have had an effect.
"""

import asyncio
import json
import random
import ssl
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp
from yarl import URL

from provider_kit import Failure, InvalidRequest, PreconditionFailed, ResourceExhausted, Unavailable
from provider_openbao import outages
from provider_openbao.pacing import Pacing, retry_after
from provider_openbao.settings import Server
from provider_openbao.tls import Contexts

ATTEMPTS = 3
PAUSE_SECONDS = 0.25
UNNAMED_PAUSE_SECONDS = 1.0
"""For all calls to a server that limits their rate without saying when the next may come."""
CONNECT_SECONDS = 5.0
CONNECTIONS_PER_SERVER = 32
_REDIRECTS = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)
# 412: Vault Enterprise's replica is not up to date yet; 472 and 473: a standby of another cluster.
_MOMENTARY = (412, 429, 472, 473, 502, 503, 504)


class TooLarge(ResourceExhausted):
    """A response is larger than may be read."""


@dataclass(frozen=True)
class Answer:
    """A response with JSON, or with nothing: ``data`` is empty then, and for anything that is not an object."""

    status: int
    data: dict[str, Any] = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the call succeeded."""
        return self.status < HTTPStatus.BAD_REQUEST

    @property
    def errors(self) -> str:
        """The server's own sentences, on one line."""
        errors = [*(self.data.get("errors") or []), *(self.data.get("warnings") or [])]
        return "; ".join(" ".join(str(error).split()) for error in errors)[:300]


class Client:
    """``timeout`` is that of one call, in seconds; a response of more than ``max_bytes`` is refused."""

    def __init__(self, timeout: float, max_bytes: int) -> None:
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._contexts = Contexts()
        self._pacing = Pacing()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def call(
        self, server: Server, method: str, path: str, *, token: str = "", query: str = "", body: str = ""
    ) -> Answer:
        """The answer, unless it is one of an outage, which is a failure that names the server. ``path`` is below
        ``/v1/`` and quoted already."""
        for attempt in range(1, ATTEMPTS + 1):
            await self._pacing.turn(server.address)
            try:
                answer, headers = await self._send(server, method, path, token, query, body)
            except aiohttp.ClientConnectionError as error:
                failure: Failure = outages.unreachable(server.address, error)
                if isinstance(failure, PreconditionFailed):  # a certificate stays as it is
                    raise failure from None
            else:
                if answer.status not in _MOMENTARY:
                    return await self._unless_away(server, answer)
                failure = await self._outage(server, answer, retry_after(headers.get("Retry-After", "")))
            if attempt < ATTEMPTS:
                await asyncio.sleep(PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.0))
        raise failure

    async def _unless_away(self, server: Server, answer: Answer) -> Answer:
        """The answer, unless the server as a whole does not work: it answers 500 then, too."""
        if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            failure = outages.state(server.address, answer, await self._health(server))
            if failure is not None:
                raise failure
        return answer

    async def _outage(self, server: Server, answer: Answer, pause: float) -> Failure:
        """The failure for a momentary refusal, raised at once if it does not help to call again soon."""
        limited = answer.status == HTTPStatus.TOO_MANY_REQUESTS
        self._pacing.hold(server.address, pause or (UNNAMED_PAUSE_SECONDS if limited else 0.0))
        unknown = limited or answer.status == HTTPStatus.PRECONDITION_FAILED
        failure = outages.outage(server.address, answer, 0 if unknown else await self._health(server), pause)
        if outages.is_sealed(answer) or pause > self._pacing.longest:
            raise failure
        return failure

    async def _send(
        self, server: Server, method: str, path: str, token: str, query: str, body: str
    ) -> tuple[Answer, Any]:
        url = f"{server.address}/v1/{path}" + (f"?{query}" if query else "")
        # The header is the API's protection against requests that were forged across sites.
        headers = {"X-Vault-Request": "true", "Content-Type": "application/json"}
        headers |= {"X-Vault-Token": token} if token else {}
        headers |= {"X-Vault-Namespace": server.namespace} if server.namespace else {}
        options: dict[str, Any] = {"data": body or None, "headers": headers, "allow_redirects": False}
        context = await self._context(server)
        if context is not None:
            options |= {"ssl": context, "server_hostname": server.tls.server_name or None}
        try:
            answer, answered = await self._exchange(method, URL(url, encoded=True), options)
            if answer.status in _REDIRECTS:
                target = outages.redirect(server.address, url, answered.get("Location", ""))
                try:
                    answer, answered = await self._exchange(method, URL(target, encoded=True), options)
                except (aiohttp.ClientConnectionError, TimeoutError) as error:
                    raise outages.standby_of_unreachable(server.address, target, error) from None
                if answer.status in _REDIRECTS:
                    raise outages.redirects_on(server.address, target)
        except TimeoutError:
            raise Unavailable(
                f"{server.address} did not answer within {self._timeout:g} s: check that it is healthy, and "
                "vaultAddress"
            ) from None
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, aiohttp.InvalidURL) as error:
            raise Unavailable(
                f"{server.address} does not answer as an OpenBao server ({type(error).__name__}): check vaultAddress"
            ) from None
        return answer, answered

    async def _exchange(self, method: str, url: URL, options: dict[str, Any]) -> tuple[Answer, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS_PER_SERVER),
                timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        async with self._session.request(method, url, **options) as response:
            contents = bytearray()
            async for chunk in response.content.iter_any():
                contents += chunk
                if len(contents) > self._max_bytes:
                    raise TooLarge(
                        f"the response has more than {self._max_bytes} bytes, and a volume holds 4 MiB: split the "
                        "secret, or set secretPath to a smaller one"
                    )
            return Answer(response.status, _object(contents, response.status, url)), response.headers

    async def _context(self, server: Server) -> ssl.SSLContext | None:
        return None if server.address.startswith("http:") else await asyncio.to_thread(self._contexts.get, server.tls)

    async def _health(self, server: Server) -> int:
        """The status of sys/health; 0 if it is unknown."""
        try:
            return (await self._send(server, "GET", "sys/health", "", "", ""))[0].status
        except (Failure, aiohttp.ClientError, OSError):
            return 0


def _object(contents: bytes | bytearray, status: int, url: URL) -> dict[str, Any]:
    if not contents.strip():
        return {}
    try:
        data = json.loads(contents)
    except (ValueError, RecursionError):  # whose text quotes the content
        data = None
    if isinstance(data, dict):
        return data
    if status in _MOMENTARY or status in _REDIRECTS:  # a load balancer's page
        return {}
    raise InvalidRequest(
        f"{url.origin()} does not answer in JSON (HTTP {status}), so it is no OpenBao or Vault server: check "
        "vaultAddress"
    )
