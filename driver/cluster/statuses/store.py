"""The pod statuses of the node's volumes: one write when something significant changed, else none.

Works with the trio's CRDs too, whose schema lacks some fields of ours: the API server prunes them, which is logged
once.
"""

import asyncio
import contextlib
from collections.abc import Collection

from driver.cluster.api import Api
from driver.cluster.patience import patience
from driver.cluster.statuses.claims import Claims
from driver.cluster.statuses.written_status import WrittenStatus
from driver.objects.pod_status import status_name
from driver.ports import VolumeRecord
from runtime import logs
from runtime.errors import Failure, Unavailable

log = logs.get(__name__)

# A volume whose object exists does not wait longer than this for an API server that is away; it is written later.
WRITE_SECONDS = 3.0
# Nor longer than this for one that is slow.
SLOW_WRITE_SECONDS = 10.0
# A retried write that takes longer than this makes way for the others.
RETRY_SECONDS = 30.0
# Whoever asks for the identity of an object waits so long for a write of it, which is made at the same time, and for
# the look whether it is still there.
FIRST_WRITE_SECONDS = 2.0


class StatusStore:
    """The pod statuses of this node's volumes, by target path."""

    def __init__(self, api: Api, node: str, driver: str) -> None:
        self._api = api
        self._node = node
        self._claims = Claims(api, node, driver)
        self._written: dict[str, WrittenStatus] = {}
        self._any_written = asyncio.Event()
        self._retry_queue: dict[str, VolumeRecord] = {}
        self._any_retry = asyncio.Event()
        self._retrying = ""
        self._retry_write: asyncio.Task[str] | None = None
        self._warned_of_schema = False

    async def record(self, record: VolumeRecord) -> str:
        """Write what changed, at once if the volume has no object yet, else soon. Returns the object's name; empty if
        it is written later, also if the caller does not wait for it. Raises a Failure."""
        if record.target_path not in self._written:
            return await self._write(record)
        if record.target_path == self._retrying:  # an older record must not overwrite a newer one
            self._retry_queue[record.target_path] = record
            return ""
        try:
            async with patience(self._api, WRITE_SECONDS, SLOW_WRITE_SECONDS):
                self._retry_queue.pop(record.target_path, None)
                return await self._write(record)
        except asyncio.CancelledError:
            self._write_later(record)
            raise
        except (TimeoutError, Unavailable):
            log.warning("A pod status cannot be written in time; it is written later", pod=record.pod)
            self._write_later(record)
            return ""

    def _write_later(self, record: VolumeRecord) -> None:
        self._retry_queue[record.target_path] = record
        self._any_retry.set()

    def remember(self, record: VolumeRecord, status_name: str, *, current: bool) -> None:
        """An earlier process of this driver wrote the object; ``current`` is whether it says the same as ``record``."""
        if record.target_path not in self._written:
            known = WrittenStatus(self._api, self._node, record.pod, status_name)
            known.remember(record, current=current)
            self._keep(record.target_path, known)

    @property
    def any_known(self) -> bool:
        """Whether a volume of this node has an object, as far as this process knows."""
        return bool(self._written)

    async def run(self) -> None:
        """Write what could not be written at once, until cancelled."""
        while True:
            while self._retry_queue:
                await self._retry(*next(iter(self._retry_queue.items())))
            self._any_retry.clear()
            await self._any_retry.wait()

    async def _retry(self, target_path: str, record: VolumeRecord) -> None:
        write = self._retry_write = asyncio.create_task(self._write(record))
        self._retrying = target_path
        try:
            await asyncio.wait([write], timeout=RETRY_SECONDS)
            stays = not write.done()
        finally:
            self._retrying, self._retry_write = "", None
            write.cancel()
            await asyncio.gather(write, return_exceptions=True)
        if not write.cancelled() and (error := write.exception()) is not None:
            if not isinstance(error, Failure):
                raise error
            log.warning("A pod status could not be written", pod=record.pod, err=error)
            stays = isinstance(error, Unavailable)
        newest = self._retry_queue.pop(target_path, None)
        if newest is None:  # the volume was unpublished meanwhile
            self.forget(target_path)
        elif stays or newest is not record:
            self._retry_queue[target_path] = newest  # behind the others

    async def _write(self, record: VolumeRecord) -> str:
        known = self._written.get(record.target_path)
        if known is not None and known.says(record):
            return known.name
        if known is None:
            known = WrittenStatus(self._api, self._node, record.pod, self._free_name(record))
            await known.create(record)
        else:
            await known.update(record)
        self._keep(record.target_path, known)
        if not known.condition and not self._warned_of_schema:
            self._warn_of_schema()
        return known.name

    def _free_name(self, record: VolumeRecord) -> str:
        name = status_name(record)
        is_taken = any(other.occupies(name, record) for other in self._written.values())
        return status_name(record, unique=True) if is_taken else name

    def forget(self, target_path: str) -> None:
        """The volume is gone; the object is deleted with its pod, and not written any more."""
        if target_path == self._retrying and self._retry_write is not None:
            self._retry_write.cancel()
        self._written.pop(target_path, None)
        self._retry_queue.pop(target_path, None)

    async def identity(self, target_path: str) -> tuple[str, str] | None:
        """Name and UID of a volume's object; None if they are not known within FIRST_WRITE_SECONDS. If it was deleted
        meanwhile it is written again and has another UID; what its former self owns is collected. Raises a Failure."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_WRITE_SECONDS):
                while (known := self._written.get(target_path)) is None:
                    await self._any_written.wait()
                await known.confirm()
                return known.name, known.uid
        return None

    async def read(self, targets: Collection[str]) -> list[tuple[VolumeRecord, str]]:
        """The objects that describe these target paths, as far as their pods confirm them, and their names."""
        found = await self._claims.confirmed(targets)
        for record, item in found:
            if record.target_path not in self._written:  # what was written since the start is newer
                known = WrittenStatus(self._api, self._node, record.pod, item["metadata"]["name"])
                known.found(record, item)
                self._keep(record.target_path, known)
        return [(record, item["metadata"]["name"]) for record, item in found]

    def _keep(self, target_path: str, known: WrittenStatus) -> None:
        self._written[target_path] = known
        self._any_written.set()  # wakes whoever waits for an identity
        self._any_written = asyncio.Event()

    def _warn_of_schema(self) -> None:
        self._warned_of_schema = True
        log.warning(
            "The cluster's SecretProviderClassPodStatus CRD is older than this driver: last refresh, failures and "
            "conditions are not shown in pod status; apply the chart's crds/ to see them"
        )
