"""Checks what pod statuses claim against their pods, which are read by name."""

import asyncio
from collections.abc import Sequence
from typing import Any

from driver.cluster.api import Api
from driver.objects import pods
from driver.objects.names import is_object_name
from driver.ports import Pod, VolumeRecord
from runtime import logs
from runtime.errors import InvalidRequest, NotFound, PermissionDenied

log = logs.get(__name__)

# A restart must not flood the API server, however many pod statuses somebody has made.
AT_ONCE = 4


async def confirmed_records(records: Sequence[VolumeRecord], api: Api, driver: str) -> list[VolumeRecord]:
    """The records that their pods confirm. Each pod is read once, and not kept. Raises Unavailable."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def confirmed(pod: Pod) -> list[VolumeRecord]:
        async with slots:
            found = await _read(api, pod)
        return [record for record in records if record.pod == pod and pods.confirms(found, record, driver)]

    named = {record.pod: None for record in records if is_object_name(record.pod.name)}
    return [record for found in await asyncio.gather(*map(confirmed, named)) for record in found]


async def _read(api: Api, pod: Pod) -> dict[str, Any]:
    """Empty for a pod that does not exist or must not be read."""
    try:
        return await api.call("GET", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}")
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
