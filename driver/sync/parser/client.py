"""Starts the parser's process, asks it, and kills it when a request exceeds its limits."""

import asyncio
import contextlib
import hashlib
import os
import signal
import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from driver import limits
from driver.sync.parser import frames
from runtime import logs
from runtime.errors import Unavailable

log = logs.get(__name__)

COMMAND = (sys.executable, "-I", "-m", "driver.sync.parser.worker")
START_SECONDS, END_SECONDS = 30.0, 5.0
Answer: TypeAlias = tuple[dict[str, Any], frames.Blobs]
TOO_COSTLY = (
    "it takes too much time or memory to be read: it is damaged, or was made to be costly; store an ordinary "
    "certificate and key as PEM"
)


STARVED = (
    "the process that reads it was ended before it had done so, as the node has too little memory or CPU time; it is "
    "tried again"
)
# An ordinary certificate takes some milliseconds.
STARVED_CPU_SECONDS = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


class BadPart(Exception):
    """A request failed: the key at fault, empty if it is not known which, and a sentence."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(sentence)
        self.key = key
        self.sentence = sentence

    def sentence_for(self, object_names: Mapping[str, str], field: str = "objectName") -> str:
        """The sentence for users, with the name of the object at fault (by key of the Secret), and its ``field``."""
        if self.key in object_names:
            return f"{field} {object_names[self.key]} cannot be {self.key}: {self.sentence}"
        return f"its objects {', '.join(sorted(set(object_names.values())))} cannot be used: {self.sentence}"


class Parser:
    """Parses what a store delivers.

    One request at a time; the namespaces take turns, so that one with many requests, or costly ones, delays the others
    by one request at most.
    """

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        # A namespace's is there for as long as a request holds it or waits for it.
        self._namespaces: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._indigestible: OrderedDict[bytes, None] = OrderedDict()
        self._idle: asyncio.TimerHandle | None = None
        self.started = 0

    @property
    def pid(self) -> int | None:
        """The process, if there is one."""
        return None if self._process is None else self._process.pid

    async def tls(self, namespace: str, parts: Mapping[str, bytes]) -> frames.Blobs:
        """``tls.assemble`` of these parts. Raises BadPart."""
        return (await self._request(namespace, "tls", parts))[1]

    async def entries(self, namespace: str, kind: str, content: bytes) -> list[tuple[str, bytes]]:
        """``formats.entries`` of an object. Raises BadPart."""
        header, blobs = await self._request(namespace, kind, {"": content})
        try:
            return [(str(key), blobs[str(place)]) for place, key in enumerate(header["keys"])]
        except (KeyError, TypeError):
            raise BadPart("", TOO_COSTLY) from None

    async def _request(self, namespace: str, operation: str, parts: Mapping[str, bytes]) -> Answer:
        if sum(map(len, parts.values())) > limits.MAX_SECRET_BYTES:
            raise BadPart("", f"its objects are larger than the {limits.MAX_SECRET_BYTES} bytes that a Secret can hold")
        digest = _digest(operation, parts)  # of a megabyte at most
        if digest in self._indigestible:
            raise BadPart("", TOO_COSTLY)
        # After the wait for a turn nothing is awaited between the request and its answer but the process.
        async with self._namespaces.setdefault(namespace, asyncio.Lock()), self._turn:
            process = await self._running()
            used = _cpu_seconds(process.pid)
            try:
                return await _ask(process, operation, parts)
            except (TimeoutError, EOFError, OSError, frames.BadFrame) as error:
                late = isinstance(error, TimeoutError)
                starved = late and _cpu_seconds(process.pid) - used < STARVED_CPU_SECONDS
                await self._kill(ending=isinstance(error, (EOFError, OSError)) and not late)
                # The kernel ends a process by SIGKILL if memory is short, and this one first.
                killed = not late and not isinstance(error, frames.BadFrame) and process.returncode == -signal.SIGKILL
                if starved or killed:
                    log.warning(
                        "The parser was ended for lack of memory or CPU time; what it was to read is tried again"
                    )
                    raise BadPart("", STARVED) from None
                self._remember(digest)
                raise BadPart("", TOO_COSTLY) from None
            except asyncio.CancelledError:
                await self._kill()  # its answer would be taken for that of the next request
                raise
            finally:
                self._end_when_idle()

    async def close(self) -> None:
        """End the process."""
        if self._idle is not None:
            self._idle.cancel()
        await self._kill()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._idle is not None:
            self._idle.cancel()
        if self._process is not None:
            if self._process.returncode is None and not _is_ending(self._process):
                return self._process
            await self._kill(ending=True)
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
                await _ask(self._process, "tls", {}, START_SECONDS)
        except asyncio.CancelledError:
            await self._kill()  # its answer to the empty request would be taken for that of the next one
            raise
        except (TimeoutError, EOFError, OSError, frames.BadFrame) as error:
            await self._kill()
            raise Unavailable(f"the parser's process does not start: {type(error).__name__}") from None
        self.started += 1
        return self._process

    def _end_when_idle(self) -> None:
        loop = asyncio.get_running_loop()
        if self._idle is not None:
            self._idle.cancel()
        self._idle = loop.call_later(limits.PARSE_IDLE_SECONDS, self._end_idle)

    def _end_idle(self) -> None:
        """End an idle process: its input ends. It is waited for later, in ``_kill``."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def _kill(self, *, ending: bool = False) -> None:
        """End the process. ``ending``: it seems to end by itself. How it ended would be lost if it was killed then: the
        signal's sender may reap it before asyncio does."""
        process, self._process = self._process, None
        if process is None:
            return
        if ending:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await _end(process)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await _end(process)

    def _remember(self, digest: bytes) -> None:
        log.warning("The parser was ended: what it was to read takes too much time or memory")
        self._indigestible[digest] = None
        if len(self._indigestible) > limits.PARSE_REMEMBERED:
            self._indigestible.popitem(last=False)


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


async def _ask(
    process: asyncio.subprocess.Process, operation: str, parts: Mapping[str, bytes], seconds: float | None = None
) -> Answer:
    assert process.stdin is not None and process.stdout is not None
    stdout = process.stdout
    async with asyncio.timeout(limits.PARSE_SECONDS if seconds is None else seconds):
        process.stdin.write(frames.pack({"operation": operation}, parts))
        await process.stdin.drain()
        text = await stdout.readexactly(frames.header_length(await stdout.readexactly(frames.LENGTH.size)))
        header, sizes = frames.parse_header(text, 2 * limits.MAX_SECRET_BYTES)
        blobs = {key: await stdout.readexactly(size) for key, size in sizes.items()}
    if "error" in header:
        raise BadPart(str(header.get("key", "")), str(header["error"])[:1024])
    return header, blobs


def _cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used; 0 if it is gone. proc_pid_stat(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _digest(operation: str, parts: Mapping[str, bytes]) -> bytes:
    digest = hashlib.sha256(operation.encode())
    for key, part in sorted(parts.items()):
        digest.update(hashlib.sha256(key.encode()).digest() + hashlib.sha256(part).digest())
    return digest.digest()
