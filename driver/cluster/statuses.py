"""SecretProviderClassPodStatus objects: one write when something significant changed, else none.

POST for a new object, a JSON merge PATCH after that (409 → PATCH, 404 → POST). Works with the trio's CRDs too, whose
schema lacks some fields of ours: the API server prunes them, which is logged once.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from driver.cluster.answers import Conflict, is_refused_by_admission
from driver.cluster.api import MERGE_PATCH, Api
from driver.cluster.confirmed_pods import ConfirmedPods
from driver.cluster.patience import patience
from driver.limits import SHOWN_STATUSES, STATUS_PAGE
from driver.objects import API_PATH
from driver.objects.names import LONGEST_NAME
from driver.objects.pod_status import (
    NODE_LABEL,
    PLURAL,
    Object,
    build_status,
    condition_of,
    merge_patch,
    names_its_pod,
    parse_status,
    status_name,
)
from driver.ports import Pod, VolumeRecord
from runtime import clock, logs
from runtime.errors import Failure, InvalidRequest, NotFound, PermissionDenied

log = logs.get(__name__)

# A volume whose object exists does not wait longer than this for an API server that is away; it is written later.
WRITE_SECONDS = 3.0
# Nor longer than this for one that is slow.
SLOW_WRITE_SECONDS = 10.0
# How long the UID of an object is taken to be the same without a look.
IDENTITY_SECONDS = 30.0
# A retried write that takes longer than this makes way for the others.
RETRY_SECONDS = 30.0


@dataclass
class _Written:
    """An object of this node: its pod and name, what it said last (None if unknown), its UID and condition.

    The UID is empty until the API server has told it, at the moment ``seen_at``: an earlier driver wrote the object.
    ``record`` is what it should say, as far as that is known.
    """

    pod: Pod
    name: str = ""
    fields: object = None
    uid: str = ""
    condition: Mapping[str, Any] = field(default_factory=dict)
    record: VolumeRecord | None = None
    seen_at: float = 0.0


class StatusStore:
    """The pod statuses of this node's volumes, by target path."""

    def __init__(self, api: Api, node: str, driver: str) -> None:
        self._api = api
        self._node = node
        self._pods = ConfirmedPods(api, driver)
        self._written: dict[str, _Written] = {}
        self._any_written = asyncio.Event()
        self._retry_queue: dict[str, VolumeRecord] = {}
        self._any_retry = asyncio.Event()
        self._retrying = ""
        self._retry_write: asyncio.Task[str] | None = None
        self._warned_of_schema = False

    async def record(self, record: VolumeRecord) -> str:
        """Write what changed, at once if the volume has no object yet, else soon. Returns the object's name; empty if
        it is written later. Raises a Failure."""
        if record.target_path not in self._written:
            return await self._write(record)
        if record.target_path == self._retrying:  # an older record must not overwrite a newer one
            self._retry_queue[record.target_path] = record
            return ""
        try:
            async with patience(self._api, WRITE_SECONDS, SLOW_WRITE_SECONDS):
                self._retry_queue.pop(record.target_path, None)
                return await self._write(record)
        except TimeoutError:
            log.warning("The API server does not answer; a pod status is written later", pod=record.pod)
            self._retry_queue[record.target_path] = record
            self._any_retry.set()
            return ""

    def remember(self, record: VolumeRecord, status_name: str, *, current: bool) -> None:
        """An earlier process of this driver wrote the object; ``current`` is whether it says the same as ``record``."""
        fields = _significant_fields(record) if current else None
        known = _Written(record.pod, status_name, fields, record=record)
        self._written.setdefault(record.target_path, known)
        self._wake_waiting()

    @property
    def any_known(self) -> bool:
        """Whether a volume of this node has an object, as far as this process knows."""
        return bool(self._written)

    async def run(self) -> None:
        """Write what could not be written at once, until cancelled."""
        while True:
            await self._any_retry.wait()
            self._any_retry.clear()
            while self._retry_queue:
                await self._retry(*next(iter(self._retry_queue.items())))

    async def _retry(self, target_path: str, record: VolumeRecord) -> None:
        write = self._retry_write = asyncio.create_task(self._write(record))
        self._retrying = target_path
        try:
            await asyncio.wait([write], timeout=RETRY_SECONDS)
            timed_out = not write.done()
        finally:
            self._retrying, self._retry_write = "", None
            write.cancel()
            await asyncio.gather(write, return_exceptions=True)
        if not write.cancelled() and (error := write.exception()) is not None:
            if not isinstance(error, Failure):
                raise error
            log.warning("A pod status could not be written", pod=record.pod, err=error)
        newest = self._retry_queue.pop(target_path, None)
        if newest is None:  # the volume was unpublished meanwhile
            self.forget(target_path)
        elif timed_out or newest is not record:
            self._retry_queue[target_path] = newest  # behind the others

    async def _write(self, record: VolumeRecord) -> str:
        known = self._written.get(record.target_path)
        fields = _significant_fields(record)
        if known is not None and known.fields == fields:
            return known.name
        if known is None:
            known = _Written(record.pod)
            answer = await self._create(known, record)
        elif not known.uid:
            answer = await self._take_over(known, record)
        else:
            answer = await self._update(known, record)
        known.fields, known.record = fields, record
        self._remember(record.target_path, known, answer)
        if not known.condition and not self._warned_of_schema:
            self._warn_of_schema()
        return known.name

    def forget(self, target_path: str) -> None:
        """The volume is gone; the object is deleted with its pod, and not written any more."""
        if target_path == self._retrying and self._retry_write is not None:
            self._retry_write.cancel()
        self._written.pop(target_path, None)
        self._retry_queue.pop(target_path, None)

    async def identity(self, target_path: str) -> tuple[str, str]:
        """Name and UID of a volume's object; waits until it is written. If it was deleted meanwhile it is written again
        and has another UID; what its former self owns is collected."""
        while (known := self._written.get(target_path)) is None:
            await self._any_written.wait()
        if known.record is not None and (not known.uid or clock.now() - known.seen_at > IDENTITY_SECONDS):
            self._remember(target_path, known, await self._confirm(known, known.record))
        return known.name, known.uid

    async def _confirm(self, known: _Written, record: VolumeRecord) -> Object:
        """The object of a volume as it is; written if it is not there, or is that of another volume."""
        if known.uid:
            try:
                answer = await self._patch(known, {})  # there is no right to read
                found = parse_status(answer)
                if found is not None and found.target_path == record.target_path:
                    return answer
            except NotFound:
                return await self._create(known, record)
        return await self._take_over(known, record)

    async def read(self, targets: Collection[str]) -> list[tuple[VolumeRecord, str]]:
        """The objects that describe these target paths, and their names: one LIST by node label, in pages, and one GET
        for each pod that an object names. Those that their pod does not confirm are ignored, which is logged."""
        confirmed: dict[str, tuple[VolumeRecord, Object]] = {}
        ignored = list[str]()
        async for page in self._pages():
            found = [(record, item) for item in page if (record := _claim(item, targets))]
            kept = await self._pods.select([record for record, _ in found])
            for record, item in found:
                if record not in kept:
                    ignored.append(f"{item['metadata']['namespace']}/{item['metadata']['name']}"[:LONGEST_NAME])
                elif record.target_path not in confirmed or item["metadata"]["name"] == status_name(record):
                    confirmed[record.target_path] = record, item
            del ignored[SHOWN_STATUSES:]
        if ignored:
            log.warning(
                "Ignoring pod statuses: their pods do not exist, or do not mount these classes as these volumes",
                examples=", ".join(ignored),
            )
        for record, item in confirmed.values():
            if record.target_path not in self._written:  # what was written since the start is newer
                known = _Written(record.pod, item["metadata"]["name"], _significant_fields(record))
                self._remember(record.target_path, known, item)
        return [(record, item["metadata"]["name"]) for record, item in confirmed.values()]

    async def _pages(self) -> AsyncIterator[Sequence[Object]]:
        """The objects with the node's label."""
        token = ""
        while True:
            query = {"labelSelector": f"{NODE_LABEL}={self._node}", "limit": str(STATUS_PAGE)}
            if token:
                query["continue"] = token
            page = await self._api.call("GET", f"{API_PATH}/{PLURAL}", query=query)
            yield page.get("items") or ()
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def _remember(self, target_path: str, known: _Written, answer: Object) -> None:
        known.uid, known.seen_at = answer["metadata"]["uid"], clock.now()
        known.condition = condition_of(answer)
        self._written[target_path] = known
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        self._any_written.set()
        self._any_written = asyncio.Event()

    async def _create(self, known: _Written, record: VolumeRecord) -> Object:
        if not known.name:
            known.name = status_name(record)
            if any(other.name == known.name and _is_other(other.pod, record.pod) for other in self._written.values()):
                known.name = status_name(record, unique=True)
        path = f"{API_PATH}/namespaces/{known.pod.namespace}/{PLURAL}"
        status = build_status(record, known.name, self._node, known.condition)
        try:
            return await self._api.call("POST", path, body=status)
        except Conflict:
            return await self._take_over(known, record)

    async def _take_over(self, known: _Written, record: VolumeRecord) -> Object:
        """Make an object ours that is there already, or create another one if the cluster does not allow that: it is
        that of a pod of this name that was on another node, or its owner may not be changed."""
        try:
            return await self._overwrite(known, record)
        except (InvalidRequest, PermissionDenied) as failure:
            unique = status_name(record, unique=True)
            if known.name == unique or not is_refused_by_admission(failure):
                raise
            known.name = unique
            return await self._create(known, record)

    async def _overwrite(self, known: _Written, record: VolumeRecord) -> Object:
        """Make an object ours if it is not that of another volume."""
        try:
            # There is no right to read, so an empty patch shows whose object it is.
            answer = await self._patch(known, {})
            found, unique = parse_status(answer), status_name(record, unique=True)
            is_another = found and found.target_path != record.target_path and _is_other(found.pod, record.pod)
            if is_another and known.name != unique:
                # It is that of another volume, which this driver need not know (yet).
                known.name = unique
                return await self._create(known, record)
            if found and _significant_fields(found) == _significant_fields(record):
                return answer
            # It is left from an earlier pod of this name, or was written by a call whose answer was lost.
            known.condition = condition_of(answer)
            status = build_status(record, known.name, self._node, known.condition)
            return await self._patch(known, merge_patch(status))
        except NotFound:  # collected meanwhile, as its earlier pod is gone
            return await self._create(known, record)

    async def _update(self, known: _Written, record: VolumeRecord) -> Object:
        status = build_status(record, known.name, self._node, known.condition)
        try:
            return await self._patch(known, merge_patch(status))
        except NotFound:
            return await self._create(known, record)

    async def _patch(self, known: _Written, body: Object) -> Object:
        path = f"{API_PATH}/namespaces/{known.pod.namespace}/{PLURAL}/{known.name}"
        return await self._api.call("PATCH", path, body=body, content_type=MERGE_PATCH)

    def _warn_of_schema(self) -> None:
        self._warned_of_schema = True
        log.warning(
            "The cluster's SecretProviderClassPodStatus CRD is older than this driver: last refresh, failures and "
            "conditions are not shown in pod status; apply the chart's crds/ to see them"
        )


def _claim(item: Object, targets: Collection[str]) -> VolumeRecord | None:
    """What an object says of one of the target paths; None if that cannot be true: its owner is not the pod there."""
    record = parse_status(item)
    return record if record is not None and record.target_path in targets and names_its_pod(record) else None


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
