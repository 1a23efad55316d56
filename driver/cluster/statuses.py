"""SecretProviderClassPodStatus objects: one write when something significant changed, else none.

POST for a new object, a JSON merge PATCH after that (409 → PATCH, 404 → POST). Works with the trio's CRDs too, whose
schema lacks some fields of ours: the API server prunes them, which is logged once.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from driver.cluster.answers import Conflict
from driver.cluster.api import MERGE_PATCH, Api
from driver.objects import API_PATH
from driver.objects.pod_status import (
    NODE_LABEL,
    PLURAL,
    Object,
    build_status,
    condition_of,
    merge_patch,
    parse_status,
    status_name,
)
from driver.ports import Pod, VolumeRecord
from runtime import logs
from runtime.errors import Failure, NotFound

log = logs.get(__name__)

PAGE = "500"
# A volume whose object exists does not wait longer than this for an API server that is away; it is written later.
WRITE_SECONDS = 3.0
# A retried write that takes longer than this makes way for the others.
RETRY_SECONDS = 30.0


@dataclass
class _Written:
    """An object of this node: its pod and name, what it said last (None if unknown), its UID and condition."""

    pod: Pod
    name: str = ""
    fields: object = None
    uid: str = ""
    condition: Mapping[str, Any] = field(default_factory=dict)


class StatusStore:
    """The pod statuses of this node's volumes, by target path."""

    def __init__(self, api: Api, node: str) -> None:
        self._api = api
        self._node = node
        self._written: dict[str, _Written] = {}
        self._any_written = asyncio.Event()
        self._retry_queue: dict[str, VolumeRecord] = {}
        self._any_retry = asyncio.Event()
        self._retrying = ""
        self._warned_of_schema = False

    async def record(self, record: VolumeRecord) -> None:
        """Write what changed, at once if the volume has no object yet, else soon. Raises a Failure."""
        if record.target_path not in self._written:
            await self._write(record)
            return
        if record.target_path == self._retrying:  # an older record must not overwrite a newer one
            self._retry_queue[record.target_path] = record
            return
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                self._retry_queue.pop(record.target_path, None)
                await self._write(record)
        except TimeoutError:
            log.warning("A pod status is written when the API server is back", pod=record.pod)
            self._retry_queue[record.target_path] = record
            self._any_retry.set()

    async def run(self) -> None:
        """Write what could not be written at once, until cancelled."""
        while True:
            await self._any_retry.wait()
            self._any_retry.clear()
            while self._retry_queue:
                await self._retry(*next(iter(self._retry_queue.items())))

    async def _retry(self, target_path: str, record: VolumeRecord) -> None:
        self._retrying = target_path
        timed_out = False
        try:
            async with asyncio.timeout(RETRY_SECONDS):
                await self._write(record)
        except TimeoutError:
            timed_out = True
        except Failure as failure:
            log.warning("A pod status could not be written", pod=record.pod, err=failure)
        self._retrying = ""
        newest = self._retry_queue.pop(target_path, None)
        if newest is None:  # the volume was unpublished meanwhile
            self.forget(target_path)
        elif timed_out or newest is not record:
            self._retry_queue[target_path] = newest  # behind the others

    async def _write(self, record: VolumeRecord) -> None:
        known = self._written.get(record.target_path)
        fields = _significant_fields(record)
        if known is not None and known.fields == fields:
            return
        if known is None:
            known = _Written(record.pod)
            answer = await self._create(known, record)
        else:
            answer = await self._update(known, record)
        known.fields = fields
        self._remember(record.target_path, known, answer)
        if not known.condition and not self._warned_of_schema:
            self._warn_of_schema()

    def forget(self, target_path: str) -> None:
        """The volume is gone; the object is deleted with its pod."""
        self._written.pop(target_path, None)
        self._retry_queue.pop(target_path, None)

    async def identity(self, target_path: str) -> tuple[str, str]:
        """Name and UID of a volume's object; waits until it is written."""
        while (known := self._written.get(target_path)) is None:
            await self._any_written.wait()
        return known.name, known.uid

    async def read_all(self) -> list[VolumeRecord]:
        """One LIST by node label, in pages."""
        records, token = [], ""
        while True:
            query = {"labelSelector": f"{NODE_LABEL}={self._node}", "limit": PAGE}
            if token:
                query["continue"] = token
            page = await self._api.call("GET", f"{API_PATH}/{PLURAL}", query=query)
            for item in page.get("items") or ():
                record = parse_status(item)
                if record is None:
                    continue
                records.append(record)
                if record.target_path not in self._written:  # what was written since the start is newer
                    known = _Written(record.pod, item["metadata"]["name"], _significant_fields(record))
                    self._remember(record.target_path, known, item)
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return records

    def _remember(self, target_path: str, known: _Written, answer: Object) -> None:
        known.uid = answer["metadata"]["uid"]
        known.condition = condition_of(answer)
        self._written[target_path] = known
        self._any_written.set()
        self._any_written = asyncio.Event()

    async def _create(self, known: _Written, record: VolumeRecord) -> Object:
        if not known.name:
            known.name = status_name(record)
            # Two volumes of one pod with one class must not overwrite each other's object.
            if any(other.name == known.name and other.pod == record.pod for other in self._written.values()):
                known.name = status_name(record, unique=True)
        path = f"{API_PATH}/namespaces/{known.pod.namespace}/{PLURAL}"
        status = build_status(record, known.name, self._node, known.condition)
        try:
            return await self._api.call("POST", path, body=status)
        except Conflict:
            pass
        try:
            # There is no right to read, so an empty patch shows whose object it is.
            found = parse_status(await self._patch(known, {}))
            unique = status_name(record, unique=True)
            if found and found.pod == record.pod and found.target_path != record.target_path and known.name != unique:
                # It is that of the pod's other volume with this class, which this driver does not know (yet).
                known.name = unique
                return await self._create(known, record)
            # It is left from an earlier pod of this name, or was written by a call whose answer was lost.
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
