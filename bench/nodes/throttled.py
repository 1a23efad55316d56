"""The trio's client: JSON calls on one HTTP/2 connection, at most 20 a second after a burst of 30.

That is controller-runtime's default for all calls of a process, watches included.
"""

import asyncio
import json
import time
from base64 import b64decode
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from bench.nodes.http2 import Http2Client, context_for

QPS, BURST = 20.0, 30
# client-go, rest/request.go: an overloaded API server says after how many seconds to come again, which is 1.
TOO_MANY, RETRIES, RETRY_AFTER = 429, 10, 1.0
Object = dict[str, Any]


class Throttle:
    """A token bucket at which callers wait in turn."""

    def __init__(self, per_second: float = QPS, burst: int = BURST) -> None:
        self._per_second, self._burst = per_second, float(burst)
        self._tokens, self._last = self._burst, time.monotonic()

    async def wait(self) -> None:
        """Wait for a token."""
        await asyncio.sleep(self.reserve(time.monotonic()))

    def reserve(self, now: float) -> float:
        """Take a token; in how many seconds it may be used."""
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._per_second) - 1.0
        self._last = now
        return max(0.0, -self._tokens / self._per_second)


class ThrottledClient:
    """Calls to the API server of a kubeconfig with a token."""

    def __init__(self, kubeconfig: Path) -> None:
        content = json.loads(kubeconfig.read_text())
        server = content["clusters"][0]["cluster"]
        ca = b64decode(server["certificate-authority-data"]).decode()
        self._client = Http2Client(server["server"], context_for(ca), content["users"][0]["user"]["token"])
        self._throttle = Throttle()

    async def call(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json"
    ) -> tuple[int, Object]:
        """Status and object of the answer. Raises OSError."""
        status, answer = await self.raw(method, path, body, content_type)
        try:
            return status, json.loads(answer)
        except ValueError:
            raise ConnectionError(f"{method} {path} was answered with status {status} and no object") from None

    async def raw(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Status and body of the answer. Raises OSError."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"content-type": content_type} if content else None
        for _ in range(RETRIES):
            await self._throttle.wait()
            status, answer = await self._client.request(method, path, content, headers)
            if status != TOO_MANY:
                return status, answer
            await asyncio.sleep(RETRY_AFTER)
        raise ConnectionError(f"{method} {path} was answered with status {status} {RETRIES} times")

    async def watch(self, path: str) -> AsyncGenerator[bytes, None]:
        """The lines of a watch. Raises OSError."""
        await self._throttle.wait()
        async for line in self._client.lines(path):
            yield line

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()
