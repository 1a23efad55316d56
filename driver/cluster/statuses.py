"""SecretProviderClassPodStatus objects: one write when something new is to be told, none otherwise.

POST for a new one, JSON merge PATCH after that (409 → PATCH, 404 → POST). Works with the trio's CRDs too, whose schema
lacks our fields: the API server prunes them, and that is said once.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from driver.cluster.api import MERGE_PATCH, Api, Conflict
from driver.objects.pod_status import NODE_LABEL, record_of, status_name, status_object, statuses_path
from driver.ports import Pod, VolumeRecord
from runtime import logs
from runtime.errors import Failure, NotFound

log = logs.get(__name__)

PAGE = "500"
# A volume whose object is there already does not wait longer for an API server that is away; it is told later.
PATIENCE = 3.0
# One that the server cannot take just now does not hold up the others longer.
LATE_SECONDS = 30.0


@dataclass
class _Written:
    """One object of ours: whose it is, what it told last (None where that is not known), its UID and condition."""

    pod: Pod
    name: str
    news: object = None
    uid: str = ""
    condition: Mapping[str, Any] = field(default_factory=dict)


class StatusStore:
    """The pod statuses of this node's volumes, by target path."""

    def __init__(self, api: Api, node: str) -> None:
        self._api = api
        self._node = node
        self._written: dict[str, _Written] = {}
        self._warned_of_schema = False
        self._told = asyncio.Event()
        self._late: dict[str, VolumeRecord] = {}
        self._any_late = asyncio.Event()
        self._writing_late = ""

    async def record(self, record: VolumeRecord) -> None:
        """Write what is new, now if the volume has no object yet, else soon. Raises a Failure."""
        if record.target_path not in self._written:
            await self._write(record)
            return
        if record.target_path == self._writing_late:  # older news must not overtake newer
            self._late[record.target_path] = record
            return
        try:
            async with asyncio.timeout(PATIENCE):
                self._late.pop(record.target_path, None)
                await self._write(record)
        except TimeoutError:
            log.warning("A pod status is written when the API server is back", pod=record.pod)
            self._late[record.target_path] = record
            self._any_late.set()

    async def run(self) -> None:
        """Write for ever what could not be written at once."""
        while True:
            await self._any_late.wait()
            self._any_late.clear()
            while self._late:
                await self._write_late(*next(iter(self._late.items())))

    async def _write_late(self, target_path: str, record: VolumeRecord) -> None:
        self._writing_late = target_path
        again = False
        try:
            async with asyncio.timeout(LATE_SECONDS):
                await self._write(record)
        except TimeoutError:
            again = True
        except Failure as failure:
            log.warning("A pod status could not be written", pod=record.pod, err=failure)
        self._writing_late = ""
        newest = self._late.pop(target_path, None)
        if newest is None:  # the volume went meanwhile
            self.forget(target_path)
        elif again or newest is not record:
            self._late[target_path] = newest  # behind the others

    async def _write(self, record: VolumeRecord) -> None:
        known = self._written.get(record.target_path)
        if known is not None and known.news == _news(record):
            return
        body = status_object(record, self._node)
        if known is not None:
            _keep_transition(known.condition, body["status"]["conditions"][0])
        if known is None:
            known = _Written(record.pod, self._free_name(record))
            answer = await self._create(known, body, record)
        else:
            try:
                answer = await self._patch(known, body)
            except NotFound:
                answer = await self._create(known, body, record)
        known.news = _news(record)
        self._remember(record.target_path, known, answer)
        self._check_schema(answer)

    def forget(self, target_path: str) -> None:
        """The volume is gone; the object goes with its pod."""
        self._written.pop(target_path, None)
        self._late.pop(target_path, None)

    async def identity(self, target_path: str) -> tuple[str, str]:
        """Name and UID of a volume's object; waits until it is written."""
        while (known := self._written.get(target_path)) is None:
            await self._told.wait()
        return known.name, known.uid

    async def read_all(self) -> list[VolumeRecord]:
        """One LIST by node label, in pages."""
        records, token = [], ""
        while True:
            query = {"labelSelector": f"{NODE_LABEL}={self._node}", "limit": PAGE}
            if token:
                query["continue"] = token
            page = await self._api.call("GET", statuses_path(), query=query)
            for item in page.get("items") or ():
                record = record_of(item)
                if record is None:
                    continue
                records.append(record)
                if record.target_path not in self._written:  # what was written since is newer
                    known = _Written(record.pod, item["metadata"]["name"], _news(record))
                    self._remember(record.target_path, known, item)
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return records

    def _remember(self, target_path: str, known: _Written, found: Mapping[str, Any]) -> None:
        known.uid = found["metadata"]["uid"]
        known.condition = next(iter((found.get("status") or {}).get("conditions") or ()), {})
        self._written[target_path] = known
        self._told.set()
        self._told = asyncio.Event()

    def _free_name(self, record: VolumeRecord) -> str:
        """Two volumes of one pod with one class do not overwrite each other's record."""
        name = status_name(record)
        taken = any(known.name == name and known.pod == record.pod for known in self._written.values())
        return status_name(record, of_its_own=True) if taken else name

    async def _create(self, known: _Written, body: dict[str, Any], record: VolumeRecord) -> dict[str, Any]:
        whole = {
            **body,
            "metadata": {**body["metadata"], "name": known.name},
            "status": {key: value for key, value in body["status"].items() if value is not None},
        }
        try:
            return await self._api.call("POST", statuses_path(known.pod.namespace), body=whole)
        except Conflict:  # whose it is only a write tells: there is no right to read; this one changes nothing
            found = record_of(await self._patch(known, {}))
        own_name = status_name(record, of_its_own=True)
        if found and found.pod == record.pod and found.target_path != record.target_path and known.name != own_name:
            # The pod's other volume of this class, which this driver does not know (yet).
            known.name = own_name
            return await self._create(known, body, record)
        # Left by an earlier pod of this name, or written by a call whose answer was lost.
        return await self._patch(known, body)

    async def _patch(self, known: _Written, body: dict[str, Any]) -> dict[str, Any]:
        path = statuses_path(known.pod.namespace, known.name)
        return await self._api.call("PATCH", path, body=body, content_type=MERGE_PATCH)

    def _check_schema(self, answer: dict[str, Any]) -> None:
        if not self._warned_of_schema and "conditions" not in (answer.get("status") or {}):
            self._warned_of_schema = True
            log.warning(
                "The cluster's SecretProviderClassPodStatus CRD is older than this driver: last refresh, failures and "
                "conditions are not shown in pod status; apply the chart's crds/ to see them"
            )


def _keep_transition(former: Mapping[str, Any], condition: dict[str, Any]) -> None:
    """A condition that says the same as before did not change its mind now."""
    if former.get("status") == condition["status"] and "lastTransitionTime" in former:
        condition["lastTransitionTime"] = former["lastTransitionTime"]


def _news(record: VolumeRecord) -> object:
    """What is worth a write when it changes; the time of the last refresh alone is not."""
    failure = record.failure
    return (
        record.pod,
        record.class_ref,
        record.target_path,
        tuple(sorted(record.objects.items())),
        None if failure is None else (failure.reason, failure.message, failure.count),
    )
