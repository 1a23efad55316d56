"""GET requests over raw TCP connections, with as little CPU time as possible."""

import asyncio
import gc
import time
from typing import Any

Job = dict[str, Any]


async def http(job: Job) -> Job:
    """``count`` requests for ``path`` (/healthz), over ``connections`` at a time that are kept (``keep``) or not."""
    requests = _Requests(job)
    gc.collect()
    gc.freeze()
    started = time.perf_counter()
    await asyncio.gather(*(requests.client() for _ in range(job["connections"])))
    return {"total": time.perf_counter() - started, "seconds": requests.seconds, "failures": requests.failures}


class _Requests:
    def __init__(self, job: Job) -> None:
        self.seconds: list[float] = []
        self.failures: list[str] = []
        self._host, self._port, self._keep = job["host"], job["port"], job["keep"]
        self._left = job["count"]
        connection = "" if self._keep else "Connection: close\r\n"
        path = job.get("path", "/healthz")
        self._request = f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{connection}\r\n".encode()

    async def client(self) -> None:
        """Make requests, one after the other, until none is left."""
        streams = None
        while self._left > 0:
            self._left -= 1
            started = time.perf_counter()
            try:
                if streams is None:
                    streams = await asyncio.open_connection(self._host, self._port)
                reader, writer = streams
                writer.write(self._request)
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_content_length(head))
            except (OSError, EOFError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                _close(streams)
                streams = None
                continue
            if b" 200 " in head[:20]:
                self.seconds.append(time.perf_counter() - started)
            else:
                self.failures.append(head.partition(b"\r\n")[0].decode(errors="replace"))
            if not self._keep:
                _close(streams)
                streams = None
        _close(streams)


def _close(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None) -> None:
    if streams is not None:
        streams[1].close()


def _content_length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")), 0)
