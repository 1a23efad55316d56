"""Checks pod statuses against their pods, which are read by name, each once."""

import asyncio
from collections.abc import Sequence
from typing import Any

from driver.cluster.api import Api
from driver.objects import pods
from driver.ports import Pod, VolumeRecord
from runtime import logs
from runtime.errors import InvalidRequest, NotFound, PermissionDenied

log = logs.get(__name__)

# A restart must not flood the API server, however many pod statuses somebody has made.
AT_ONCE = 4


class ConfirmedPods:
    """Reads pods, and remembers them for as long as it lives."""

    def __init__(self, api: Api, driver: str) -> None:
        self._api = api
        self._driver = driver
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def select(self, records: Sequence[VolumeRecord]) -> list[VolumeRecord]:
        """The records that their pods confirm. Raises Unavailable."""
        named = list({record.pod: None for record in records})
        found = dict(zip(named, await asyncio.gather(*(self._read(pod) for pod in named)), strict=True))
        return [record for record in records if pods.confirms(found[record.pod], record, self._driver)]

    async def _read(self, pod: Pod) -> dict[str, Any]:
        """Empty for a pod that does not exist, or whose name is not one, or that must not be read."""
        try:
            async with self._slots:
                return await self._api.call("GET", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}")
        except (InvalidRequest, NotFound):
            return {}
        except PermissionDenied as failure:
            log.warning(
                "Ignoring the pod status of a volume until its next publish: its pod cannot be read to confirm it; "
                "grant the driver get on pods, as the chart does",
                pod=pod,
                err=failure,
            )
            return {}
