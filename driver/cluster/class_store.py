"""A cache of the SecretProviderClasses that volumes of this node use, updated by one metadata-only watch on them all.

1. A class is read by name when a volume first needs it, once for all concurrent requests, and cached.
2. The watch starts at the resourceVersion of a list with a limit of one; then all cached classes are read again.
3. When an event names a cached class, the class is read again; events of other classes are ignored. A class that was
   deleted while volumes use it, and is created again, counts as a change.
4. A watch that ends, breaks or is silent for too long is resumed at its last event. If that is impossible, or the
   resourceVersion is too old (410), it starts again at 2. Before each there is a pause with jitter, because all nodes
   reconnect to an API server that was away.
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
# After a watch that lasted this long, the next one starts without back-off.
LASTING_SECONDS = 30.0
MIN_WATCH_SECONDS, MAX_WATCH_SECONDS = 300, 600


class ClassStore:
    """The cache; ``run`` keeps it up to date."""

    def __init__(self, api: Api, idle_seconds: float) -> None:
        self._api = api
        self._idle_seconds = idle_seconds
        self._cache: dict[ClassRef, ProviderClass] = {}
        self._locks: dict[ClassRef, asyncio.Lock] = {}
        # Classes that have, or may have, changed since the request that is reading them was sent.
        self._changed_while_read: set[ClassRef] = set()
        # Classes that volumes need and that do not exist; most of them were deleted while in use.
        self._missing: set[ClassRef] = set()
        self._listeners: list[ClassListener] = []
        # The resourceVersion of the last event (empty before the first list), and whether this watch has sent any.
        self._version = ""
        self._any_event = False
        self._logged = ""

    async def get(self, class_ref: ClassRef) -> ProviderClass:
        """The cached class; reads it if it is not cached. Raises NotFound."""
        lock = self._locks.setdefault(class_ref, asyncio.Lock())
        async with lock:
            while class_ref not in self._cache:
                self._changed_while_read.discard(class_ref)
                try:
                    found = await self._read(class_ref)
                except NotFound:
                    if class_ref in self._changed_while_read:
                        continue
                    self._missing.add(class_ref)
                    raise
                if class_ref not in self._changed_while_read:
                    self._cache[class_ref] = found
                    self._missing.discard(class_ref)
            return self._cache[class_ref]

    def is_current(self, provider_class: ProviderClass) -> bool:
        """Whether a class equals the cached one."""
        return self._cache.get(provider_class.class_ref) == provider_class

    def forget(self, class_ref: ClassRef) -> None:
        """No volume uses the class any more."""
        self._cache.pop(class_ref, None)
        self._changed_while_read.discard(class_ref)
        self._missing.discard(class_ref)
        lock = self._locks.get(class_ref)
        if lock is not None and not lock.locked():
            del self._locks[class_ref]

    def on_change(self, listener: ClassListener) -> None:
        """Call ``listener`` after each change of a cached class, and when a missing one may exist."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Watch until cancelled."""
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        while True:
            started = loop.time()
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Failure as failure:
                self._log_end(failure)
                if isinstance(failure, Expired) or not self._any_event:
                    self._version = ""
            pause = min(pause * 2, LAST_PAUSE) if loop.time() - started < LASTING_SECONDS else FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.25, 0.75))

    def _log_end(self, failure: Failure) -> None:
        """A warning only if the watch was rejected, and once: watches that end are normal."""
        if isinstance(failure, (Expired, Unavailable)):
            log.verbose(2, "The watch on SecretProviderClasses ended; starting again", reason=failure)
        elif str(failure) != self._logged:
            self._logged = str(failure)
            log.warning(
                "SecretProviderClasses cannot be watched, so that changes of classes in use go unnoticed: the driver's "
                "account needs get, list and watch on them",
                err=failure,
            )

    async def _list(self) -> None:
        found = await self._api.call("GET", CLASSES_PATH, query={"limit": "1"}, accept=LIST_ACCEPT)
        self._version = found["metadata"]["resourceVersion"]
        self._changed_while_read.update(self._locks)
        for class_ref in list(self._cache):
            await self._read_again(class_ref)
        for class_ref in list(self._missing):
            self._notify(class_ref)

    async def _watch(self) -> None:
        self._any_event = False
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(random.randint(MIN_WATCH_SECONDS, MAX_WATCH_SECONDS)),
        }
        events = self._api.watch(CLASSES_PATH, query, ONE_ACCEPT, self._idle_seconds)
        async with contextlib.aclosing(events):
            async for event in events:
                await self._handle(event)

    async def _handle(self, event: Mapping[str, Any]) -> None:
        metadata = event["object"]["metadata"]
        if event["type"] != "BOOKMARK":
            await self._class_changed(ClassRef(metadata.get("namespace", ""), metadata.get("name", "")))
        # After the event was handled: if that fails, the watch is resumed before it.
        self._version, self._any_event = metadata["resourceVersion"], True

    async def _class_changed(self, class_ref: ClassRef) -> None:
        if class_ref in self._locks:
            self._changed_while_read.add(class_ref)
        if class_ref in self._cache:
            await self._read_again(class_ref)
        elif class_ref in self._missing:
            self._notify(class_ref)

    async def _read_again(self, class_ref: ClassRef) -> None:
        before = self._cache.get(class_ref)
        try:
            fresh = await self._read(class_ref)
        except NotFound:
            fresh = None
        if fresh == before or self._cache.get(class_ref) is not before:
            return  # unchanged, or forgotten meanwhile
        if fresh is None:
            del self._cache[class_ref]
            self._missing.add(class_ref)
        else:
            self._cache[class_ref] = fresh
        self._notify(class_ref)

    def _notify(self, class_ref: ClassRef) -> None:
        log.verbose(2, "A SecretProviderClass in use has changed", secretProviderClass=class_ref)
        for listener in self._listeners:
            listener(class_ref)

    async def _read(self, class_ref: ClassRef) -> ProviderClass:
        try:
            path = f"{API_PATH}/namespaces/{class_ref.namespace}/{PLURAL}/{class_ref.name}"
            return parse_class(await self._api.call("GET", path))
        except NotFound:
            raise NotFound(f'{KIND}.{GROUP} "{class_ref.name}" not found') from None
