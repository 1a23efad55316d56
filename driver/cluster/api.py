"""Calls to the API server, retried while it is away; failures are types that say what the caller can do.

A call lasts until it has an answer or its caller's timeout cancels it. Connection losses, 5xx and 429 are retried with
jitter; Retry-After is respected; there is no rate limit besides the server's own. A 403 from a server that has just
come back is retried too. After a 401 or a TLS failure the credentials are read again: new calls use new connections,
and the old ones are closed after their last user. Exceptions of the ``kubernetes`` package and response bodies do not
leave this module, nor does a cancellation that nobody requested: what closes a connection pool cancels everybody who
waits for one of its connections, and that is a network error.
"""

import asyncio
import contextlib
import math
import random
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from driver.cluster.answers import (
    Expired,
    date_of,
    decode,
    describe,
    event_of,
    failure_of,
    is_not_served,
    is_object,
    is_of_webhook,
    not_served,
    quote,
    retry_after,
)
from driver.cluster.connections import Connections
from driver.cluster.network import CONNECTIONS, UnusableConfigurationError, network_errors
from runtime import clock, logs, redact
from runtime.errors import Failure, InvalidRequest, PermissionDenied, Unavailable

if TYPE_CHECKING:
    import aiohttp

    from driver.cluster.transport import Transport

log = logs.get(__name__)

CALL_SECONDS = 15.0
# There is a bookmark each minute, but in an idle cluster the first one comes only after two (measured).
WATCH_IDLE_SECONDS = 180.0
FIRST_PAUSE, LAST_PAUSE = 0.1, 3.0
# An API server that has just started rejects requests until it has read the roles.
BOOT_SECONDS = 15.0
JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
# Names in paths come from pods and stored objects. A client normalises paths: ``..`` would lead to another object.
_PATH = re.compile(r"(/[A-Za-z0-9][A-Za-z0-9._-]*)+")


class Api:
    """The API server, connected or not. ``answered`` is called with the status (``<error>`` without an answer), the
    method and the server's address of each request, as client-go counts them."""

    def __init__(self, kubeconfig: str, answered: Callable[[str, str, str], None] = lambda *_: None) -> None:
        self._connections = Connections(kubeconfig)
        self._answered = answered
        self._unreachable_at = self._answered_at = float("-inf")
        self.last_error = ""
        # What must be added to a moment of ``runtime.clock`` to get the server's time; None until its first answer.
        self._server_clock: float | None = None

    def server_time(self) -> float:
        """The time (Unix time) by the clock of the server that answered last; up to a second behind. Ours until its
        first answer."""
        return clock.wall_time(clock.now()) if self._server_clock is None else clock.now() + self._server_clock

    def clock_offset(self) -> float | None:
        """By how many seconds our wall clock is ahead of the server's; None until its first answer."""
        return None if self._server_clock is None else clock.wall_time(0.0) - self._server_clock

    def has_answered(self, within: float) -> bool:
        """Whether the server has answered any call in the last seconds, if only that it is overloaded (429). A 5xx may
        be from a gateway whose server is away, and says that nothing of the call goes on."""
        return asyncio.get_running_loop().time() - self._answered_at < within

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
        quoted: bool = False,
        webhook_seconds: float = math.inf,
    ) -> dict[str, Any]:
        """The server's answer as an object. Raises NotFound, Conflict, Expired, PermissionDenied or InvalidRequest at
        once; anything that may pass is retried until the caller's timeout cancels the call.

        ``quoted``: the failure is the server's own message. It may repeat what was sent: only for a caller that
        withholds that (``redact.withhold``).

        ``webhook_seconds``: for how long a 5xx because of an admission webhook is retried, too; then it is Unavailable.
        """
        if not _PATH.fullmatch(path):
            raise InvalidRequest(f"invalid API path {redact.text(path)}: it contains an invalid object name")
        url = path + ("?" + urlencode(query) if query else "")
        pause, began = FIRST_PAUSE, clock.now()
        while True:
            wait = 0.0
            try:
                async with self._connections.use() as transport, network_errors():
                    headers = {"Content-Type": content_type, "Accept": accept}
                    timeout = transport.timeout(CALL_SECONDS)
                    async with await self._send(transport, method, url, body, headers, timeout) as response:
                        status, content = response.status, await response.read()
                    if (date := date_of(response.headers)) is not None:
                        self._server_clock = date - clock.now()
                    if status == 401:
                        self._connections.discard(transport)
                    answer = decode(content) if 200 <= status < 300 else None
            except self._connections.errors as error:
                problem, detail = type(error).__name__, redact.text(error)
                if isinstance(error, UnusableConfigurationError):
                    problem, detail = f"{problem}: {detail}", ""  # another cause is another problem
                self._unreachable_at = asyncio.get_running_loop().time()
            else:
                if isinstance(answer, dict) and is_object(path, answer):
                    self.last_error = ""
                    return answer
                if is_not_served(status, content):
                    raise not_served(path)
                failure, is_webhooks = failure_of(status), is_of_webhook(status, content)
                if is_webhooks and clock.now() - began >= webhook_seconds:
                    failure = Unavailable
                if failure is not None and not (failure is PermissionDenied and self._just_back()):
                    described = describe(method, path, status, content)
                    raise failure((quoted and quote(content)) or described)
                problem, detail = f"status {status}" + (", but not an object of the API" if status < 300 else ""), ""
                if is_webhooks:
                    problem = describe(method, path, status, content)
                wait = retry_after(response.headers)
            self._log_problem(method, path, problem, detail)
            await asyncio.sleep(wait + pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LAST_PAUSE)

    async def watch(
        self, path: str, query: Mapping[str, str], accept: str, idle_seconds: float = WATCH_IDLE_SECONDS
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The events of one watch, until it ends, breaks or is silent for too long: then Unavailable, or Expired after
        a 410."""
        try:
            async with self._connections.use() as transport:
                url, timeout = f"{path}?{urlencode(query)}", transport.timeout(None, idle_seconds)
                async with network_errors():
                    response = await self._send(transport, "GET", url, None, {"Accept": accept}, timeout)
                with contextlib.closing(response):
                    if response.status == 401:
                        self._connections.discard(transport)
                    if response.status == 404 and is_not_served(404, await response.read()):
                        raise not_served(path)
                    if response.status != 200:
                        failure = failure_of(response.status) or Unavailable
                        raise failure(f"watch of {path} was answered with status {response.status}")
                    while line := await _next_line(response):
                        event = event_of(line)
                        if event["type"] == "ERROR":
                            expired = event["object"].get("code") == 410
                            raise (Expired if expired else Unavailable)(f"watch of {path} ended with an error event")
                        yield event
        except self._connections.errors as error:
            raise Unavailable(f"watch of {path} broke: {type(error).__name__}") from None

    async def warm(self) -> None:
        """Open the connections ahead: eight TLS handshakes take most of the time of a first burst of calls
        (docs/performance.md)."""
        await asyncio.gather(*(self._open_connection() for _ in range(CONNECTIONS)))

    async def close(self) -> None:
        """Close the connections, if there are any, as soon as no call uses them; a later call opens new ones."""
        await self._connections.close()

    async def _open_connection(self) -> None:
        with contextlib.suppress(Failure):  # the connection is open even if /version requires a permission
            await self.call("GET", "/version")

    def _just_back(self) -> bool:
        """Whether the server was unreachable a moment ago."""
        return asyncio.get_running_loop().time() - self._unreachable_at < BOOT_SECONDS

    async def _send(self, transport: "Transport", method: str, *request: Any) -> "aiohttp.ClientResponse":
        """``Transport.send``, counted."""
        status = "<error>"
        try:
            response = await transport.send(method, *request)
            status = str(response.status)
            if response.status < 500:
                self._answered_at = asyncio.get_running_loop().time()
            return response
        finally:
            self._answered(status, method, urlsplit(transport.host).netloc)

    def _log_problem(self, method: str, path: str, problem: str, detail: str) -> None:
        """Log each new kind of problem once, not each retry."""
        if problem != self.last_error:
            self.last_error = problem
            log.warning(
                "The API server cannot be used; retrying", method=method, path=path, problem=problem, err=detail
            )


async def _next_line(response: "aiohttp.ClientResponse") -> bytes:
    """The next line of a watch; empty at its end."""
    async with network_errors():
        line: bytes = await response.content.readline()
    return line
