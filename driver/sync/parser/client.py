"""Asks the parser's process, and says what it means if the process has to be killed."""

import asyncio
import hashlib
import signal
from collections import OrderedDict
from collections.abc import Mapping
from weakref import WeakValueDictionary

from driver import limits
from driver.sync.parser import frames
from driver.sync.parser.process import NO_ANSWER, Answer, ParserProcess
from runtime import logs

log = logs.get(__name__)

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
        self.process = ParserProcess()
        self._turn = asyncio.Lock()
        # A namespace's is there for as long as a request holds it or waits for it.
        self._namespaces: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._indigestible: OrderedDict[bytes, None] = OrderedDict()

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

    async def close(self) -> None:
        """End the process."""
        await self.process.close()

    async def _request(self, namespace: str, operation: str, parts: Mapping[str, bytes]) -> Answer:
        if sum(map(len, parts.values())) > limits.MAX_SECRET_BYTES:
            raise BadPart("", f"its objects are larger than the {limits.MAX_SECRET_BYTES} bytes that a Secret can hold")
        digest = _digest(operation, parts)  # of a megabyte at most
        if digest in self._indigestible:
            raise BadPart("", TOO_COSTLY)
        # After the wait for a turn nothing is awaited between the request and its answer but the process.
        async with self._namespaces.setdefault(namespace, asyncio.Lock()), self._turn:
            await self.process.start()
            used = self.process.cpu_seconds()
            try:
                header, blobs = await self.process.ask(operation, parts)
            except NO_ANSWER as error:
                if await self._has_starved(error, used):
                    log.warning(
                        "The parser was ended for lack of memory or CPU time; what it was to read is tried again"
                    )
                    raise BadPart("", STARVED) from None
                self._remember(digest)
                raise BadPart("", TOO_COSTLY) from None
            except asyncio.CancelledError:
                await self.process.kill()  # its answer would be taken for that of the next request
                raise
            finally:
                self.process.end_when_idle()
        if "error" in header:
            raise BadPart(str(header.get("key", "")), str(header["error"])[:1024])
        return header, blobs

    async def _has_starved(self, error: Exception, used: float) -> bool:
        """End the process, which has not answered; whether that is the node's fault and not that of the request."""
        if isinstance(error, TimeoutError):
            starved = self.process.cpu_seconds() - used < STARVED_CPU_SECONDS
            await self.process.kill()
            return starved
        if isinstance(error, frames.BadFrame):
            await self.process.kill()
            return False
        # The kernel ends a process by SIGKILL if memory is short, and this one first.
        return await self.process.kill(ending=True) == -signal.SIGKILL

    def _remember(self, digest: bytes) -> None:
        log.warning("The parser was ended: what it was to read takes too much time or memory")
        self._indigestible[digest] = None
        if len(self._indigestible) > limits.PARSE_REMEMBERED:
            self._indigestible.popitem(last=False)


def _digest(operation: str, parts: Mapping[str, bytes]) -> bytes:
    digest = hashlib.sha256(operation.encode())
    for key, part in sorted(parts.items()):
        digest.update(hashlib.sha256(key.encode()).digest() + hashlib.sha256(part).digest())
    return digest.digest()
