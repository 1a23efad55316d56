"""Checks what pod statuses claim against their pods, which are read by name."""

import asyncio
from collections.abc import Sequence
from typing import Any

from driver.cluster.api import Api
from driver.limits import PODS_AT_ONCE
from driver.objects import pods
from driver.objects.names import is_object_name
from driver.ports import Pod, VolumeRecord
from runtime import logs
from runtime.errors import InvalidRequest, NotFound, PermissionDenied, Unavailable

log = logs.get(__name__)

# An API server that has just started denies what it has not read the roles for yet; later the permission is missing.
DENIED_TRIES = 4


class ConfirmedPods:
    """Reads pods; each is read once for a call of ``select``, and not kept."""

    def __init__(self, api: Api, driver: str) -> None:
        self._api = api
        self._driver = driver
        self._slots = asyncio.Semaphore(PODS_AT_ONCE)
        self._denied = 0

    async def select(self, records: Sequence[VolumeRecord]) -> list[VolumeRecord]:
        """The records that their pods confirm. Raises Unavailable: to be tried again."""
        named = {record.pod: None for record in records if is_object_name(record.pod.name)}
        confirmed = await asyncio.gather(*(self._confirmed_by(pod, records) for pod in named))
        return [record for found in confirmed for record in found]

    async def _confirmed_by(self, pod: Pod, records: Sequence[VolumeRecord]) -> list[VolumeRecord]:
        async with self._slots:
            found = await self._read(pod)
        return [record for record in records if record.pod == pod and pods.confirms(found, record, self._driver)]

    async def _read(self, pod: Pod) -> dict[str, Any]:
        """Empty for a pod that does not exist, or that must not be read."""
        try:
            return await self._api.call("GET", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}")
        except (InvalidRequest, NotFound):
            return {}
        except PermissionDenied as failure:
            self._denied += 1
            if self._denied <= DENIED_TRIES:
                raise Unavailable(str(failure)) from None
            log.warning(
                "Ignoring the pod status of a volume until its next publish: its pod cannot be read to confirm it; "
                "grant the driver get on pods, as the chart does",
                pod=pod,
                err=failure,
            )
            return {}
