"""Calls to the API server: retried while it is away, told apart by what their caller can do.

A call runs until it has an answer or its caller's timeout cancels it. Connection losses, 5xx and 429 are retried with
jitter, a Retry-After is obeyed, there is no rate limit of our own below the server's fairness. A 403 of a server that
has just come back is retried too. A 401 and a TLS failure make the credentials be read anew. No exception of the
``kubernetes`` package and no body of the server's leaves this module: bodies may quote what was sent.
"""

import asyncio
import contextlib
import importlib
import json
import random
import re
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp

from runtime import logs, redact
from runtime.errors import Failure, InvalidRequest, NotFound, PermissionDenied, Unavailable

if TYPE_CHECKING:
    from driver.cluster.transport import Transport

log = logs.get(__name__)

CALL_SECONDS = 15.0
# A bookmark comes each minute, but the first one of an idle cluster only after two (measured).
WATCH_IDLE_SECONDS = 180.0
FIRST_PAUSE, LAST_PAUSE = 0.1, 3.0
# An API server that has just started refuses what it has not read the roles for yet.
BOOT_SECONDS = 15.0
# The server is not reached, or something between it and us answers what is no JSON.
NETWORK_ERRORS = (aiohttp.ClientError, OSError, ValueError)  # TimeoutError and TLS errors are OSErrors
JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"


class Conflict(Failure):
    """The object exists already, or changed since it was read (409)."""


class Expired(Failure):
    """The resourceVersion is too old (410)."""


_FAILURES: Mapping[int, type[Failure]] = {
    400: InvalidRequest,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    410: Expired,
    422: InvalidRequest,
}
# Names come from pods and from stored objects too, and a path is normalised on its way: ``..`` would be another object.
_PATH = re.compile(r"(/[A-Za-z0-9][A-Za-z0-9._-]*)+")
# Client errors that may pass.
_PASSING = frozenset({401, 408, 425, 429})
# What a refusal may mean beside a missing right: words of its message that hold nothing of the object.
_HINTS = re.compile(
    r"exceeded quota|cannot set an ownerRef on a resource you can't delete|because it is being terminated"
    r"""|admission webhook "[^"]{1,253}"|ValidatingAdmissionPolicy '[^']{1,253}'"""
)


class Api:
    """The API server, reached or not."""

    def __init__(self, kubeconfig: str) -> None:
        self._kubeconfig = kubeconfig
        self._transport: Transport | None = None
        self._opening = asyncio.Lock()
        self._missed = float("-inf")
        self.last_error = ""

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> dict[str, Any]:
        """The server's answer as an object. Raises NotFound, Conflict, Expired, PermissionDenied or InvalidRequest at
        once; anything that may pass is retried until the caller's timeout cancels the call."""
        if not _PATH.fullmatch(path):
            raise InvalidRequest(f"{redact.text(path)} is no path of the API: a name in it is none of Kubernetes")
        url = path + ("?" + urlencode(query) if query else "")
        pause = FIRST_PAUSE
        while True:
            transport = None
            wait, stale = 0.0, False
            try:
                transport = await self._open()
                status, headers, content = await transport.request(
                    method, url, body, {"Content-Type": content_type, "Accept": accept}, CALL_SECONDS
                )
                answer = json.loads(content) if 200 <= status < 300 else None
            except NETWORK_ERRORS as error:
                problem, detail, stale = type(error).__name__, redact.text(error), _distrusted(error)
                self._missed = asyncio.get_running_loop().time()
            else:
                if isinstance(answer, dict):
                    self.last_error = ""
                    return answer
                failure = _failure(status)
                if failure is not None and not (failure is PermissionDenied and self._just_back()):
                    raise failure(_sentence(method, path, status, content))
                problem, detail, stale = f"status {status}", "", status == 401
                wait = _retry_after(headers)
            if stale and transport is not None:
                await self._renew(transport)
            self._tell(method, path, problem, detail)
            await asyncio.sleep(max(wait, 0.0) + pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LAST_PAUSE)

    async def watch(
        self, path: str, query: Mapping[str, str], accept: str, idle_seconds: float = WATCH_IDLE_SECONDS
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The events of one watch, until it ends, breaks or falls silent: then Unavailable, or Expired for a 410."""
        try:
            transport = await self._open()
            response = await transport.stream(f"{path}?{urlencode(query)}", accept, idle_seconds)
            async with contextlib.aclosing(_Closing(response)):
                if response.status == 401:
                    await self._renew(transport)
                if response.status != 200:
                    failure = _failure(response.status) or Unavailable
                    raise failure(f"watch of {path} was answered with status {response.status}")
                async for line in response.content:
                    event = json.loads(line)
                    if event.get("type") == "ERROR":
                        expired = event.get("object", {}).get("code") == 410
                        raise (Expired if expired else Unavailable)(f"watch of {path} ended with an error event")
                    yield event
        except NETWORK_ERRORS as error:
            raise Unavailable(f"watch of {path} broke: {type(error).__name__}") from None

    async def warm(self) -> None:
        """Open the connections ahead: most of a cold burst's time is eight TLS handshakes (docs/performance.md)."""
        from driver.cluster.transport import CONNECTIONS

        await asyncio.gather(*(self._greet() for _ in range(CONNECTIONS)))

    def _just_back(self) -> bool:
        """Whether the server could not be reached a moment ago."""
        return asyncio.get_running_loop().time() - self._missed < BOOT_SECONDS

    async def _greet(self) -> None:
        with contextlib.suppress(Failure):  # where /version is refused the connection is open all the same
            await self.call("GET", "/version")

    async def close(self) -> None:
        """Close the connections, if there are any; a later call opens new ones."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    async def _open(self) -> "Transport":
        async with self._opening:
            if self._transport is None:
                # Imported here, in a thread: the CSI socket is served long before (docs/performance.md).
                module = await asyncio.to_thread(importlib.import_module, "driver.cluster.transport")
                try:
                    self._transport = await module.Transport.open(self._kubeconfig)
                except module.CONFIGURATION_ERRORS as error:
                    raise OSError(f"no usable API configuration: {error}") from None
            assert self._transport is not None
            return self._transport

    async def _renew(self, stale: "Transport") -> None:
        """Read the credentials anew: the file or the token was rotated."""
        async with self._opening:
            if self._transport is stale:
                self._transport = None
                await stale.close()

    def _tell(self, method: str, path: str, problem: str, detail: str) -> None:
        """Once for each new kind of problem, not once a retry."""
        if problem != self.last_error:
            self.last_error = problem
            log.warning(
                "The API server cannot be used; retrying", method=method, path=path, problem=problem, err=detail
            )


class _Closing:
    """Gives a response the ``aclose`` that ``aclosing`` wants."""

    def __init__(self, response: Any) -> None:
        self._response = response

    async def aclose(self) -> None:
        self._response.close()


def _failure(status: int) -> type[Failure] | None:
    """What an answer means that no later try will change; None for one that may."""
    if 400 <= status < 500 and status not in _PASSING:
        return _FAILURES.get(status, InvalidRequest)
    return None


def _distrusted(error: BaseException) -> bool:
    """Whether TLS failed: the CA or the client certificate may have been replaced since they were read."""
    return any(isinstance(item, (ssl.SSLError, aiohttp.ClientSSLError)) for item in (error, error.__cause__))


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return min(float(headers.get("Retry-After", "0")), 60.0)
    except ValueError:
        return 0.0


def _sentence(method: str, path: str, status: int, content: bytes) -> str:
    """The reason word, the status and the fields at fault, not the message: it may quote the object that was sent."""
    try:
        found = json.loads(content)
        reason = str(found.get("reason", ""))
        causes = (found.get("details") or {}).get("causes") or ()
        fields = ", ".join(sorted({str(cause["field"]) for cause in causes if cause.get("field")}))
        if hint := _HINTS.search(str(found.get("message", ""))):
            fields = hint[0]
    except (ValueError, AttributeError, TypeError):
        reason = fields = ""
    told = " ".join(filter(None, (str(status), reason, f"({fields})" if fields else "")))
    return f"the API server answered {told} to {method} {path}"
