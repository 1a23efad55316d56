"""The pod status of one volume, and the calls that create, change and take over its object.

POST for a new object, a JSON merge PATCH after that (409 → PATCH, 404 → POST). There is no right to read: an empty
patch shows whose an object is. A PATCH names the resourceVersion that it is for: one that was given up may reach the
API server after a later one, or after the pod's successor has taken the object over.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from enum import Enum
from typing import Any

from driver.cluster.answers import Conflict, is_refused_by_admission
from driver.cluster.api import MERGE_PATCH, Api
from driver.objects import API_PATH
from driver.objects.pod_status import PLURAL, Object, build_status, condition_of, merge_patch, parse_status, status_name
from driver.ports import Pod, VolumeRecord
from runtime import clock
from runtime.errors import InvalidRequest, NotFound, PermissionDenied

# How long the UID of an object is taken to be the same without a look.
IDENTITY_SECONDS = 30.0
# So long a webhook of the cluster is waited for that cannot be called; then whoever waits for the write is told of it.
WEBHOOK_SECONDS = 10.0
# How often an object is looked at that others change at the same time.
LOOKS = 3


class _Found(Enum):
    """What an object of the wanted name is to a volume."""

    CURRENT = "the volume's, and says the same"
    OUTDATED = "the volume's, and written by a call whose answer was lost, or by an earlier process"
    NOBODYS = "not a driver's"
    NAMESAKES = "that of an earlier or a later pod of this name"
    ANOTHERS = "that of another volume, which this driver need not know (yet)"


class WrittenStatus:
    """A pod status that this node writes: its name, its UID and its condition as the API server last returned them.

    The UID is empty until the API server has told it: an earlier driver wrote the object.
    """

    def __init__(self, api: Api, node: str, pod: Pod, name: str) -> None:
        self._api = api
        self._node = node
        self._pod = pod
        self.name = name
        self.uid = ""
        self.condition: Mapping[str, Any] = {}
        # What it said last, None if unknown; and what it should say, as far as that is known.
        self._fields: object = None
        self._record: VolumeRecord | None = None
        self._seen_at = 0.0  # when the API server last told the UID
        self._version = ""  # its resourceVersion; empty if it is not known to be that of our pod
        self._lock = asyncio.Lock()  # a look for the UID must not write what was recorded before

    def remember(self, record: VolumeRecord, *, current: bool) -> None:
        """An earlier process of this driver wrote it; ``current`` is whether it says the same as ``record``."""
        self._record = record
        self._fields = _significant_fields(record) if current else None

    def found(self, record: VolumeRecord, item: Object) -> None:
        """The API server has it as ``item``, which says the same as ``record``."""
        self._fields = _significant_fields(record)
        self._seen(item)

    def says(self, record: VolumeRecord) -> bool:
        """Whether it need not be written for ``record``: nothing significant has changed."""
        return self._fields == _significant_fields(record)

    def occupies(self, name: str, record: VolumeRecord) -> bool:
        """Whether its name is ``name``, and the volume of ``record``, another one, must get a name of its own."""
        return self.name == name and _is_other(self._pod, record.pod)

    async def create(self, record: VolumeRecord) -> None:
        """Write it for the first time. Raises a Failure."""
        self._wrote(record, await self._create(record, is_new=True))

    async def update(self, record: VolumeRecord) -> None:
        """Write it again, unless it is that of a later pod of this name. Raises a Failure."""
        async with self._lock:
            self._fields = None  # until it is answered, also if nobody waits for that
            self._wrote(record, await (self._change(record) if self._version else self._take_over(record)))

    async def confirm(self) -> None:
        """See to it that the object with this UID exists: write it if it is not there, or is that of another volume."""
        async with self._lock:
            if self._record is not None and (not self.uid or clock.now() - self._seen_at > IDENTITY_SECONDS):
                self._seen(await (self._confirm if self.uid else self._take_over)(self._record))

    def _wrote(self, record: VolumeRecord, answer: Object) -> None:
        self._seen(answer)
        # One that was left to another pod is looked at again at the next refresh: it may be collected by then.
        self._fields, self._record = _significant_fields(record) if self._version else None, record

    def _seen(self, answer: Object) -> None:
        metadata = answer["metadata"]
        self.uid, self._seen_at = metadata["uid"], clock.now()
        is_ours = any(owner.get("uid") == self._pod.uid for owner in metadata.get("ownerReferences") or ())
        self._version = metadata["resourceVersion"] if is_ours else ""
        self.condition = condition_of(answer)

    async def _confirm(self, record: VolumeRecord) -> Object:
        try:
            answer = await self._patch({})
        except NotFound:
            return await self._create(record)
        if _compare(answer, record) in (_Found.CURRENT, _Found.OUTDATED):
            return answer
        return await self._take_over(record)

    async def _create(self, record: VolumeRecord, *, is_new: bool = False) -> Object:
        """``is_new``: the volume has no object yet, so that its pod is the later one of two with this name."""
        path = f"{API_PATH}/namespaces/{self._pod.namespace}/{PLURAL}"
        try:
            return await self._api.call("POST", path, body=self._build(record), webhook_seconds=WEBHOOK_SECONDS)
        except Conflict:
            return await self._take_over(record, is_new=is_new)

    async def _change(self, record: VolumeRecord) -> Object:
        try:
            return await self._write_to(self._version, record)
        except NotFound:
            return await self._create(record)
        except Conflict:  # somebody has changed it, or our own write, of which the answer was lost
            return await self._take_over(record)

    async def _take_over(self, record: VolumeRecord, *, is_new: bool = False) -> Object:
        """Make an object ours that is there already, or create another one if the cluster does not allow that: it is
        that of a pod of this name that was on another node, or its owner may not be changed."""
        try:
            for _ in range(LOOKS - 1):
                with contextlib.suppress(Conflict):
                    return await self._overwrite(record, is_new=is_new)
            return await self._overwrite(record, is_new=is_new)
        except (InvalidRequest, PermissionDenied) as failure:
            unique = status_name(record, unique=True)
            if self.name == unique or not is_refused_by_admission(failure):
                raise
            self.name = unique
            return await self._create(record, is_new=is_new)

    async def _overwrite(self, record: VolumeRecord, *, is_new: bool) -> Object:
        """Make an object ours if it is not that of another volume. Raises Conflict if it was changed meanwhile."""
        try:
            answer = await self._patch({})
            found, unique = _compare(answer, record), status_name(record, unique=True)
            if found is _Found.ANOTHERS and self.name != unique:
                self.name = unique
                return await self._create(record, is_new=is_new)
            # The later pod's: ours was deleted by force, and its volume is only left on this node.
            if found is _Found.CURRENT or (found is _Found.NAMESAKES and not is_new):
                return answer
            self.condition = condition_of(answer)
            return await self._write_to(answer["metadata"]["resourceVersion"], record)
        except NotFound:  # collected meanwhile, as its earlier pod is gone
            return await self._create(record, is_new=is_new)

    async def _write_to(self, version: str, record: VolumeRecord) -> Object:
        """Overwrite the object as it was at a resourceVersion. Raises Conflict if it has changed since."""
        patch = merge_patch(self._build(record))
        return await self._patch({**patch, "metadata": {**patch["metadata"], "resourceVersion": version}})

    def _build(self, record: VolumeRecord) -> Object:
        return build_status(record, self.name, self._node, self.condition)

    async def _patch(self, body: Object) -> Object:
        path = f"{API_PATH}/namespaces/{self._pod.namespace}/{PLURAL}/{self.name}"
        return await self._api.call("PATCH", path, body=body, content_type=MERGE_PATCH, webhook_seconds=WEBHOOK_SECONDS)


def _compare(item: Object, record: VolumeRecord) -> _Found:
    found = parse_status(item)
    if found is None:
        return _Found.NOBODYS
    if found.target_path == record.target_path:
        is_current = _significant_fields(found) == _significant_fields(record)
        return _Found.CURRENT if is_current else _Found.OUTDATED
    return _Found.ANOTHERS if _is_other(found.pod, record.pod) else _Found.NAMESAKES


def _is_other(pod: Pod, than: Pod) -> bool:
    """Whether an object of ``pod`` must not be overwritten by one of the same name for another volume, of the pod
    ``than``. An earlier pod of the same name is gone, and its object with it."""
    return (pod.namespace, pod.name) != (than.namespace, than.name) or pod.uid == than.uid


def _significant_fields(record: VolumeRecord) -> object:
    """What is worth a write when it changes; the time of the last refresh alone is not."""
    failure = record.failure
    return (
        record.pod,
        record.class_ref,
        record.target_path,
        tuple(sorted(record.objects.items())),
        None if failure is None else (failure.reason, failure.message, failure.count),
    )
