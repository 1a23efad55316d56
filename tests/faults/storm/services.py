"""The processes around the container: an API server and a provider. Whoever is killed is started again."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.faults.storm.api_process import ADMIN
from tests.faults.storm.output import Output
from tests.support import unmeasured

RESTART_PAUSE = 0.3
ADMIN_SECONDS = 5.0
Object = dict[str, Any]


@dataclass
class Service:
    """A Python module as a process that is kept running. ``before`` is called before each start."""

    module: str
    arguments: Sequence[str]
    output: Output
    before: Callable[[], None] = lambda: None
    starts: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    async def keep(self) -> None:
        """Keep it running until cancelled."""
        while True:
            self._start()
            assert self.process is not None
            await asyncio.to_thread(self.process.wait)
            self._close_input()
            await asyncio.sleep(RESTART_PAUSE)

    def _start(self) -> None:
        self.before()
        reader, writer = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments],
                stdin=subprocess.PIPE,
                stdout=writer,
                stderr=writer,
                env=unmeasured.environment(),
            )
        finally:
            os.close(writer)
        self.starts += 1
        self.output.read_all(reader)

    def signal(self, number: signal.Signals) -> int | None:
        """Signal it; returns its pid, None if it does not run."""
        if self.process is None or self.process.poll() is not None:
            return None
        self.process.send_signal(number)
        return self.process.pid

    def order(self, order: Object) -> bool:
        """Write an order to its input; returns whether there was somebody to read it."""
        if self.process is None or self.process.stdin is None or self.process.stdin.closed:
            return False
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            self.process.stdin.flush()
            return True
        return False

    def kill(self) -> None:
        """At the end of the storm."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._close_input()

    def _close_input(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            with suppress(BrokenPipeError):  # what it was to read is still in the buffer
                self.process.stdin.close()


class Admin:
    """An administrator's calls to the API server, which are repeated for as long as it is away."""

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        self._url, self._context = url, context

    async def call(self, method: str, path: str, body: Object | None = None, accepted: Sequence[int] = ()) -> Object:
        """The answer; an empty one for a status that is ``accepted`` besides 2xx."""
        while True:
            try:
                return await asyncio.to_thread(self._call, method, path, body)
            except urllib.error.HTTPError as error:
                with error:
                    if error.code in accepted:
                        return {}
                    if error.code < 500:
                        raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from None
            except (OSError, ValueError):
                pass
            await asyncio.sleep(0.1)

    def _call(self, method: str, path: str, body: Object | None) -> Object:
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        request = urllib.request.Request(
            self._url + path,
            None if body is None else json.dumps(body).encode(),
            {"User-Agent": ADMIN, "Content-Type": content_type},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=ADMIN_SECONDS, context=self._context) as answer:
            found: Object = json.loads(answer.read())
            return found
