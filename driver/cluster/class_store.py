"""The SecretProviderClasses that volumes of this node use, kept fresh by one metadata-only watch over all of them.

1. A class is read by name when a volume first asks for it, once for all that ask at the same time, and remembered.
2. The watch starts from the resourceVersion of a list of one; then whatever was remembered before is read again.
3. An event that names a remembered class makes it be read again; all others cost nothing but the line. A class that
   was deleted under its volumes, and comes again, is news too.
4. A watch that ends, breaks or falls silent is continued where it was; one that cannot be, or is too old (410), starts
   again at 2. Before each is a pause with jitter: a thousand nodes come back to an API server that was away.
"""

import asyncio
import contextlib
import random
from collections.abc import Mapping
from typing import Any

from driver.cluster.answers import Expired
from driver.cluster.api import Api
from driver.objects import API_PATH, GROUP
from driver.objects.classes import KIND, PLURAL, parse_class
from driver.ports import ClassListener, ClassRef, ProviderClass
from runtime import logs
from runtime.errors import Failure, NotFound, Unavailable

log = logs.get(__name__)

_PARTIAL = "application/json;as={};g=meta.k8s.io;v=v1"
ONE_ACCEPT, LIST_ACCEPT = _PARTIAL.format("PartialObjectMetadata"), _PARTIAL.format("PartialObjectMetadataList")
CLASSES_PATH = f"{API_PATH}/{PLURAL}"
FIRST_PAUSE, LAST_PAUSE = 0.5, 60.0
# A watch that was open for this many seconds was a good one.
LASTING = 30.0
WATCH_SECONDS = (300, 600)


class ClassStore:
    """Remembered classes; ``run`` keeps them fresh."""

    def __init__(self, api: Api, idle_seconds: float) -> None:
        self._api = api
        self._idle_seconds = idle_seconds
        self._known: dict[ClassRef, ProviderClass] = {}
        self._reading: dict[ClassRef, asyncio.Lock] = {}
        # Classes that changed, or may have, while they were read.
        self._moved: set[ClassRef] = set()
        # Asked for and not there; mostly deleted while volumes use them.
        self._missing: set[ClassRef] = set()
        self._listeners: list[ClassListener] = []
        # Where the watch is; empty: nowhere. Whether it has told anything since it was opened.
        self._version = ""
        self._told = False
        self._refusal = ""

    async def get(self, class_ref: ClassRef) -> ProviderClass:
        """The remembered class, or a fresh one. Raises NotFound."""
        lock = self._reading.setdefault(class_ref, asyncio.Lock())
        async with lock:
            while class_ref not in self._known:
                self._moved.discard(class_ref)
                try:
                    found = await self._read(class_ref)
                except NotFound:
                    if class_ref in self._moved:
                        continue
                    self._missing.add(class_ref)
                    raise
                if class_ref not in self._moved:
                    self._known[class_ref] = found
                    self._missing.discard(class_ref)
            return self._known[class_ref]

    def is_current(self, provider_class: ProviderClass) -> bool:
        """Whether a class is the remembered one."""
        return self._known.get(provider_class.class_ref) == provider_class

    def forget(self, class_ref: ClassRef) -> None:
        """Nobody uses it any more."""
        self._known.pop(class_ref, None)
        self._moved.discard(class_ref)
        self._missing.discard(class_ref)
        lock = self._reading.get(class_ref)
        if lock is not None and not lock.locked():
            del self._reading[class_ref]

    def on_change(self, listener: ClassListener) -> None:
        """Tell ``listener`` of each change to a remembered class."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Watch for ever; a watch that did not last is followed by a pause."""
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        while True:
            started = loop.time()
            try:
                if not self._version:
                    await self._start_over()
                await self._follow()
            except Failure as failure:
                self._complain(failure)
                if isinstance(failure, Expired) or not self._told:
                    self._version = ""
            pause = min(pause * 2, LAST_PAUSE) if loop.time() - started < LASTING else FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.25, 0.75))

    def _complain(self, failure: Failure) -> None:
        """Watches end all the time; one that is refused needs a person, who is told once."""
        if isinstance(failure, (Expired, Unavailable)):
            log.verbose(2, "The watch on SecretProviderClasses ended; starting again", reason=failure)
        elif str(failure) != self._refusal:
            self._refusal = str(failure)
            log.warning(
                "SecretProviderClasses cannot be watched, so that changes of classes in use go unnoticed: the driver's "
                "account needs get, list and watch on them",
                err=failure,
            )

    async def _start_over(self) -> None:
        found = await self._api.call("GET", CLASSES_PATH, query={"limit": "1"}, accept=LIST_ACCEPT)
        self._version = found["metadata"]["resourceVersion"]
        self._moved.update(self._reading)
        for class_ref in list(self._known):
            await self._renew(class_ref)
        for class_ref in list(self._missing):
            self._tell(class_ref)

    async def _follow(self) -> None:
        self._told = False
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),
        }
        events = self._api.watch(CLASSES_PATH, query, ONE_ACCEPT, self._idle_seconds)
        async with contextlib.aclosing(events):
            async for event in events:
                await self._take(event)

    async def _take(self, event: Mapping[str, Any]) -> None:
        metadata = event["object"]["metadata"]
        if event["type"] != "BOOKMARK":
            await self._changed(ClassRef(metadata.get("namespace", ""), metadata.get("name", "")))
        # Only now: an event that could not be dealt with comes again when the watch goes on.
        self._version, self._told = metadata["resourceVersion"], True

    async def _changed(self, class_ref: ClassRef) -> None:
        if class_ref in self._reading:
            self._moved.add(class_ref)
        if class_ref in self._known:
            await self._renew(class_ref)
        elif class_ref in self._missing:
            self._tell(class_ref)

    async def _renew(self, class_ref: ClassRef) -> None:
        before = self._known.get(class_ref)
        try:
            fresh = await self._read(class_ref)
        except NotFound:
            fresh = None
        if fresh == before or self._known.get(class_ref) is not before:
            return  # the same as it was, or forgotten meanwhile
        if fresh is None:
            del self._known[class_ref]
            self._missing.add(class_ref)
        else:
            self._known[class_ref] = fresh
        self._tell(class_ref)

    def _tell(self, class_ref: ClassRef) -> None:
        log.verbose(2, "A SecretProviderClass in use has changed", secretProviderClass=class_ref)
        for listener in self._listeners:
            listener(class_ref)

    async def _read(self, class_ref: ClassRef) -> ProviderClass:
        try:
            path = f"{API_PATH}/namespaces/{class_ref.namespace}/{PLURAL}/{class_ref.name}"
            return parse_class(await self._api.call("GET", path))
        except NotFound:
            raise NotFound(f'{KIND}.{GROUP} "{class_ref.name}" not found') from None
