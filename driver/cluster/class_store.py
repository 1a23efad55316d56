"""A cache of the SecretProviderClasses that volumes of this node use, updated by one metadata-only watch on them all.

1. A class is read by name when a volume first needs it, once for all concurrent requests, and cached.
2. The watch starts at the resourceVersion of a list with a limit of one; then all cached classes are read again.
3. When an event names a cached class, the class is read again; events of other classes are ignored. A class that was
   deleted while volumes use it, and is created again, counts as a change.
4. A watch that ends is resumed at its last event, or starts again at 2 (``follow``).
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from driver.cluster.answers import NotServed
from driver.cluster.api import Api
from driver.cluster.follow import Follower
from driver.objects import API_PATH, GROUP
from driver.objects.classes import KIND, PLURAL, parse_class
from driver.ports import ClassListener, ClassRef, ProviderClass
from runtime import logs
from runtime.errors import Failure, NotFound, PreconditionFailed

log = logs.get(__name__)

_PARTIAL = "application/json;as={};g=meta.k8s.io;v=v1"
ONE_ACCEPT, LIST_ACCEPT = _PARTIAL.format("PartialObjectMetadata"), _PARTIAL.format("PartialObjectMetadataList")
CLASSES_PATH = f"{API_PATH}/{PLURAL}"
FORBIDDEN = (
    "SecretProviderClasses cannot be watched, so that changes of classes in use go unnoticed: the driver's account "
    "needs get, list and watch on them"
)


class ClassStore:
    """The cache; ``run`` keeps it up to date."""

    def __init__(self, api: Api, idle_seconds: float) -> None:
        self._api = api
        self._cache: dict[ClassRef, ProviderClass] = {}
        self._locks: dict[ClassRef, asyncio.Lock] = {}
        # Classes that have, or may have, changed since the request that is reading them was sent.
        self._changed_while_read: set[ClassRef] = set()
        # Classes that volumes need and that do not exist; most of them were deleted while in use.
        self._missing: set[ClassRef] = set()
        self._listeners: list[ClassListener] = []
        self._follower = Follower(
            api,
            CLASSES_PATH,
            ONE_ACCEPT,
            idle_seconds,
            on_list=self._list,
            on_event=self._handle,
            forbidden=FORBIDDEN,
        )

    async def get(self, class_ref: ClassRef) -> ProviderClass:
        """The cached class; reads it if it is not cached. Raises NotFound, or PreconditionFailed for one that cannot be
        used."""
        lock = self._locks.setdefault(class_ref, asyncio.Lock())
        async with lock:
            while class_ref not in self._cache:
                self._changed_while_read.discard(class_ref)
                try:
                    found = await self._read(class_ref)
                except Failure:  # missing, or not to be read: when that may have changed, it is read again
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
        await self._follower.run()

    async def _list(self) -> str:
        found = await self._api.call("GET", CLASSES_PATH, query={"limit": "1"}, accept=LIST_ACCEPT)
        self._changed_while_read.update(self._locks)
        for class_ref in list(self._cache):
            await self._read_again(class_ref)
        for class_ref in list(self._missing):
            self._notify(class_ref)
        return str(found["metadata"]["resourceVersion"])

    async def _handle(self, event: Mapping[str, Any]) -> None:
        metadata = event["object"]["metadata"]
        await self._class_changed(ClassRef(metadata.get("namespace", ""), metadata.get("name", "")))

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
        except (NotFound, PreconditionFailed):  # whoever needs it asks, and is told
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
        except ValueError as error:
            raise PreconditionFailed(f"{KIND} {class_ref} cannot be used: {error}") from None
        except NotServed:
            raise
        except NotFound:
            # It does not say which other namespaces have one: that is no business of this pod's authors.
            raise NotFound(
                f'{KIND}.{GROUP} "{class_ref.name}" not found: a class must be in the namespace of its pod, '
                f"{class_ref.namespace}; correct its name in the pod, or create it there"
            ) from None
