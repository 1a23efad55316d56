"""The parser's process: started when it is first needed, asked one request at a time, ended when it is idle or must be
killed."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from driver import limits
from driver.sync.parser import frames
from runtime.errors import Unavailable

COMMAND = (sys.executable, "-I", "-m", "driver.sync.parser.worker")
START_SECONDS, END_SECONDS = 30.0, 5.0
Answer: TypeAlias = tuple[dict[str, Any], frames.Blobs]
# What ``ask`` raises if there is no usable answer.
NO_ANSWER = (TimeoutError, EOFError, OSError, frames.BadFrame)
_TICKS = os.sysconf("SC_CLK_TCK")


class ParserProcess:
    """A process, or none; ``started`` counts them."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None
        self.started = 0

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start one, unless it runs. Raises Unavailable."""
        if self._idle is not None:
            self._idle.cancel()
        if self._process is not None:
            if self._process.returncode is None and not _is_ending(self._process):
                return
            await self.kill(ending=True)
        try:
            async with asyncio.timeout(START_SECONDS):
                self._process = await asyncio.create_subprocess_exec(
                    *COMMAND,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    env={},
                    cwd="/",
                )
                # An empty request is answered at once; the start is not charged to the first real one.
                await self.ask("tls", {}, START_SECONDS)
        except asyncio.CancelledError:
            await self.kill()  # its answer to the empty request would be taken for that of the next one
            raise
        except NO_ANSWER as error:
            await self.kill()
            raise Unavailable(f"the parser's process does not start: {type(error).__name__}") from None
        self.started += 1

    async def ask(self, operation: str, parts: Mapping[str, bytes], seconds: float | None = None) -> Answer:
        """Send a request and read its answer, in ``limits.PARSE_SECONDS`` by default. Raises one of NO_ANSWER, after
        which, as after a cancellation, the process must be killed."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        stdout = process.stdout
        async with asyncio.timeout(limits.PARSE_SECONDS if seconds is None else seconds):
            process.stdin.write(frames.pack({"operation": operation}, parts))
            await process.stdin.drain()
            text = await stdout.readexactly(frames.header_length(await stdout.readexactly(frames.LENGTH.size)))
            header, sizes = frames.parse_header(text, 2 * limits.MAX_SECRET_BYTES)
            return header, {key: await stdout.readexactly(size) for key, size in sizes.items()}

    def cpu_seconds(self) -> float:
        """The CPU time that the process has used; 0 if it is gone. proc_pid_stat(5)."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def end_when_idle(self) -> None:
        """End it if nothing is asked for a while."""
        loop = asyncio.get_running_loop()
        if self._idle is not None:
            self._idle.cancel()
        self._idle = loop.call_later(limits.PARSE_IDLE_SECONDS, self._end_idle)

    def _end_idle(self) -> None:
        """End an idle process: its input ends. It is waited for later, in ``kill``."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def kill(self, *, ending: bool = False) -> int | None:
        """End the process; returns its exit code, None without a process.

        ``ending``: it seems to end by itself. How it ended would be lost if it was killed then: the signal's sender may
        reap it before asyncio does.
        """
        process, self._process = self._process, None
        if process is None:
            return None
        if ending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await _end(process)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await _end(process)
        return process.returncode

    async def close(self) -> None:
        """End the process, and do not wait for it to be idle."""
        if self._idle is not None:
            self._idle.cancel()
        await self.kill()


def _is_ending(process: asyncio.subprocess.Process) -> bool:
    """Whether it has been told that nothing more comes."""
    return process.stdin is None or process.stdin.is_closing()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait for the end, and read what is left: asyncio waits for a pipe that is full, too, and closes what it has of a
    process once the pipes have ended."""
    if process.stdout is not None:
        with contextlib.suppress(OSError):
            await process.stdout.read()
    await process.wait()
