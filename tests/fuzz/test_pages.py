"""The pages of the container over real connections: what the network may send to each path."""

import asyncio
import gc
import os
import random
from collections import Counter
from pathlib import Path

from runtime import http
from runtime.endpoints import TcpEndpoint
from tests.fuzz.effort import scaled, source, tally
from tests.fuzz.http_streams import pieces, stream
from tests.fuzz.test_http import read_answers
from tests.probe.test_handlers import DRIVER, REGISTRAR, pages
from tests.support.waiting import until

COUNT = 250
TARGETS = (
    b"/healthz",
    b"/livez",
    b"/readyz",
    b"/readyz?exclude=providers",
    b"/metrics",
    b"/status",
    b"/",
    b"/unknown",
    b"/status?x",
    b"/metrics/",
)
# Pages, what is not there, and refusals; 500 and 503 would be those of a driver that is away.
STATUSES = {200, 404, 400, 421, 431, 505}


async def exchange(port: int, numbers: random.Random) -> bytes:
    """Send a stream in pieces, end it, and read all that comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces(numbers, stream(numbers, TARGETS)):
            writer.write(piece)
            await asyncio.sleep(0)
        writer.write_eof()
        async with asyncio.timeout(30):
            return await reader.read(-1)
    except ConnectionError:  # the server ends a connection whose last head is incomplete
        return b""
    finally:
        writer.close()


def statuses(written: bytes) -> list[int]:
    """The statuses of all responses. Which of them are those to HEAD requests, without a body, is not known here."""
    answers = []
    while written:
        head, _, rest = written.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        answers.append(int(lines[0].split()[1]))
        length = next(int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:"))
        written = rest if rest.startswith(b"HTTP/1.1 ") or not rest else rest[length:]
    return answers


def test_every_path(tmp_path: Path) -> None:
    """Requests in a row of odd and of ordinary parts to all paths, cut anywhere, each connection ended by its client →
    pages, 404, or a refusal, as many as there are requests at most; then the server has no connection left, and answers
    an ordinary request."""
    numbers, outcomes = source("pages"), Counter[int]()

    async def run() -> None:
        async with pages(tmp_path, REGISTRAR, DRIVER) as handlers:
            routes = {**handlers.status_routes(), **handlers.routes()}
            async with http.serve(TcpEndpoint("127.0.0.1", 0), routes) as port:
                before = len(os.listdir("/proc/self/fd"))
                for _ in range(scaled(COUNT, 50_000)):
                    outcomes.update(statuses(await exchange(port, numbers)))
                    tally("HTTP connections to the pages")
                gc.collect()
                await until(lambda: len(os.listdir("/proc/self/fd")) <= before + 2, "the connections to be closed")
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                assert [answer.status for answer in read_answers(await reader.read(-1), ["GET"])] == [200]
                writer.close()

    asyncio.run(run())
    assert outcomes.keys() <= STATUSES and outcomes[200] > COUNT / 4 and outcomes[400], outcomes
