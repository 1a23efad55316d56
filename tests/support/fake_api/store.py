"""Stores objects and their history, as etcd and the API server's storage layer do.

All resources share one version counter. Each change is kept in the history, from which watches are served, until
``compact`` drops it. Thread-safe.
"""

import copy
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.support.fake_api import paths
from tests.support.fake_api.errors import ApiError, Object
from tests.support.fake_api.paths import Target

HISTORY = 10_000
ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"
# Set by the server, whatever a client writes.
_SERVERS_OWN = ("uid", "creationTimestamp", "deletionTimestamp", "generation", "name", "namespace", "resourceVersion")

Key = tuple[str, str, str, str]
Update = Callable[[Object], Object]


@dataclass(frozen=True)
class Change:
    """A change in the history: the object after it (for DELETED: its last state) and before it."""

    version: int
    type: str
    group: str
    resource: str
    item: Object
    former: Object | None


Listener = Callable[[Change], object]


class Store:
    """Objects by group, resource, namespace and name."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._objects: dict[Key, Object] = {}
        self._history: deque[Change] = deque()
        self._forgotten = 0
        self._version = 1
        self._listeners: list[Listener] = []

    @property
    def version(self) -> int:
        """The version of the last change."""
        return self._version

    @property
    def oldest(self) -> int:
        """The version to which the history reaches back."""
        return self._forgotten

    def create(self, target: Target, body: Object) -> Object:
        """Store a new object. Raises a 409 if it exists."""
        with self._lock:
            if _key(target) in self._objects:
                raise ApiError(409, f'{target.qualified} "{target.name}" already exists', reason="AlreadyExists")
            item = copy.deepcopy(body)
            metadata = item.setdefault("metadata", {})
            for name in _SERVERS_OWN:
                metadata.pop(name, None)
            metadata.update(name=target.name, uid=str(uuid.uuid4()), creationTimestamp=now())
            if paths.is_custom(target.group):
                metadata["generation"] = 1
            if target.namespace:
                metadata["namespace"] = target.namespace
            _drop_empty(metadata)
            return self._commit(ADDED, target, item, None)

    def get(self, target: Target) -> Object:
        """A copy of the object. Raises a 404."""
        with self._lock:
            return copy.deepcopy(self._find(target))

    def listed(self, target: Target) -> tuple[list[Object], int]:
        """Copies of a collection's objects, sorted by namespace and name, and the version of the list."""
        with self._lock:
            found = [(key, item) for key, item in self._objects.items() if _in_collection(key, target)]
            return [copy.deepcopy(item) for _, item in sorted(found, key=lambda pair: pair[0])], self._version

    def update(self, target: Target, change: Update) -> Object:
        """Replace an object with the result of ``change``; if both are equal, nothing is written.

        Raises a 404, or a 409 if the new object names another resourceVersion or uid than the stored one.
        """
        with self._lock:
            former = self._find(target)
            item = change(copy.deepcopy(former))
            metadata, before = item.setdefault("metadata", {}), former["metadata"]
            for name in ("resourceVersion", "uid"):
                if metadata.get(name) not in (None, "", before[name]):
                    raise _conflict(target, f"the {name} is {before[name]}, not {metadata[name]}")
            for name in _SERVERS_OWN:
                metadata.pop(name, None)
                if name in before:
                    metadata[name] = before[name]
            _drop_empty(metadata)
            if item == former:
                return copy.deepcopy(former)
            if "generation" in before and item.get("spec") != former.get("spec"):
                metadata["generation"] = before["generation"] + 1
            if "deletionTimestamp" in before and not metadata.get("finalizers"):
                return self._remove(target, item)
            return self._commit(MODIFIED, target, item, former)

    def delete(self, target: Target, preconditions: Object | None = None) -> Object:
        """Delete an object, or set its deletionTimestamp if it has finalizers. Raises a 404, or a 409 if a precondition
        (``uid``, ``resourceVersion``) does not hold."""
        with self._lock:
            former = self._find(target)
            for name, value in (preconditions or {}).items():
                if value != former["metadata"][name]:
                    raise _conflict(target, f"the {name} in the precondition is {value}")
            item = copy.deepcopy(former)
            if not item["metadata"].get("finalizers"):
                return self._remove(target, item)
            item["metadata"].setdefault("deletionTimestamp", now())
            return copy.deepcopy(former) if item == former else self._commit(MODIFIED, target, item, former)

    def since(self, version: int, target: Target) -> list[Change]:
        """The changes to a collection after a version. Raises a 410 if the history does not reach back that far."""
        with self._lock:
            if version < self._forgotten:
                raise ApiError(410, f"too old resource version: {version} ({self._forgotten})")
            return [change for change in self._history if change.version > version and concerns(change, target)]

    def compact(self) -> None:
        """Drop the history; older watches and the remaining pages of older lists then get a 410."""
        with self._lock:
            # A new version, so that clients that have seen the last change are behind, too.
            self._version += 1
            self._forgotten = self._version
            self._history.clear()

    def watch(self, target: Target, version: int | None, listener: Listener) -> Callable[[], None]:
        """Call ``listener`` with each change to a collection after a version, in the thread that makes the change; if
        ``version`` is None, first with its current objects as ADDED. Returns a function that stops it. Raises a 410
        like ``since``."""
        with self._lock:
            if version is None:
                for item in self.listed(target)[0]:
                    listener(Change(self._version, ADDED, target.group, target.resource, item, None))
            else:
                for change in self.since(version, target):
                    listener(change)

            def pick(change: Change) -> None:
                if concerns(change, target):
                    listener(change)

            self._listeners.append(pick)
        return lambda: self._listeners.remove(pick)

    def replay(self, change: Change) -> None:
        """Repeat a change of another store, in the order in which they were made: so a store can be restored."""
        metadata = change.item["metadata"]
        key = (change.group, change.resource, metadata.get("namespace", ""), metadata["name"])
        with self._lock:
            self._version = self._forgotten = change.version
            if change.type == DELETED:
                self._objects.pop(key, None)
            else:
                self._objects[key] = change.item

    def in_order(self, call: Callable[[int], object]) -> None:
        """Call ``call`` with the current version, after listeners have got all changes up to it and none after it."""
        with self._lock:
            call(self._version)

    def _find(self, target: Target) -> Object:
        try:
            return self._objects[_key(target)]
        except KeyError:
            raise ApiError(404, f'{target.qualified} "{target.name}" not found') from None

    def _commit(self, kind: str, target: Target, item: Object, former: Object | None) -> Object:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        if kind == DELETED:
            del self._objects[_key(target)]
        else:
            self._objects[_key(target)] = item
        change = Change(self._version, kind, target.group, target.resource, copy.deepcopy(item), former)
        self._history.append(change)
        while len(self._history) > HISTORY:
            self._forgotten = self._history.popleft().version
        for listener in list(self._listeners):
            listener(change)
        return copy.deepcopy(item)

    def _remove(self, target: Target, item: Object) -> Object:
        gone = self._commit(DELETED, target, item, self._find(target))
        self._collect(item["metadata"]["uid"])
        return gone

    def _collect(self, uid: str) -> None:
        """Like the garbage collector, delete the dependents whose last owner is gone."""
        there = {item["metadata"]["uid"] for item in self._objects.values()}
        for key, item in list(self._objects.items()):
            owners = {owner.get("uid") for owner in item["metadata"].get("ownerReferences") or ()}
            if uid in owners and not owners & there and key in self._objects:
                group, resource, namespace, name = key
                version = str(item.get("apiVersion", "")).rpartition("/")[2]
                self.delete(Target(group, version, resource, namespace, name))


def concerns(change: Change, target: Target) -> bool:
    """Whether a change belongs to a collection, or to the object that the target names."""
    metadata = change.item["metadata"]
    key = (change.group, change.resource, metadata.get("namespace", ""), metadata["name"])
    return _in_collection(key, target)


def now() -> str:
    """The current time in the format of timestamps in objects."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merge_patch(item: Any, patch: Any) -> Any:
    """RFC 7396: https://www.rfc-editor.org/rfc/rfc7396#section-2"""
    if not isinstance(patch, dict):
        return patch
    result = dict(item) if isinstance(item, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def _drop_empty(metadata: Object) -> None:
    """Remove empty maps and lists, which the API server does not store."""
    for name in ("labels", "annotations", "ownerReferences", "finalizers"):
        if not metadata.get(name):
            metadata.pop(name, None)


def _key(target: Target) -> Key:
    return target.group, target.resource, target.namespace, target.name


def _in_collection(key: Key, target: Target) -> bool:
    group, resource, namespace, name = key
    return (
        (group, resource) == (target.group, target.resource)
        and target.namespace in ("", namespace)
        and target.name in ("", name)
    )


def _conflict(target: Target, what: str) -> ApiError:
    return ApiError(
        409,
        f'Operation cannot be fulfilled on {target.qualified} "{target.name}": {what}; '
        "please apply your changes to the latest version and try again",
    )
