"""Restarts the workload of a pod whose volume has new content, as ``kubectl rollout restart`` does: by an annotation in
its pod template (``objects.workloads``).

1. Read the pod and its controller: a StatefulSet, a DaemonSet, or a ReplicaSet and then its Deployment. Anything else
   is not restarted, nor is a pod or workload that is being deleted.
2. The template names this content already: another node, or another pod, was faster.
3. The last restart was less than the interval ago, by the clock of the API server: later.
4. Another pod of the same controller has other content than this one has or had: it differs from pod to pod, and each
   pod's rotation would restart all. Pods on older nodes or with a later refresh still have what this one had.
5. PATCH with the resourceVersion that was read. Changed by somebody else meanwhile (409): again from 1.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any

from driver import limits
from driver.cluster.answers import Conflict, Expired, is_refused_by_admission
from driver.cluster.api import MERGE_PATCH, Api
from driver.cluster.listing import pages
from driver.objects import API_PATH, workloads
from driver.objects.names import is_object_name
from driver.objects.pod_status import PLURAL, names_its_pod, parse_status
from driver.objects.workloads import REPLICA_SET, WORKLOADS, Controller
from driver.ports import Pod, Restart, RestartResult, VolumeRecord
from runtime import logs
from runtime.errors import Failure, InvalidRequest, NotFound, PermissionDenied
from runtime.timestamps import timestamp

log = logs.get(__name__)

TRIES, PAUSE = 6, 0.1
CONFLICT_SECONDS, PAUSED_SECONDS, REFUSED_SECONDS = 10.0, 60.0, 300.0

Object = dict[str, Any]


class _Nothing(Exception):
    """The pod has no workload that can be restarted; says why, or nothing if it is gone."""


class WorkloadRestarter:
    """Implements ``ports.Workloads``."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def restart(self, request: Restart) -> RestartResult:
        """Restart the workload of the pod, unless it was restarted for this content already."""
        try:
            for _ in range(TRIES):
                try:
                    return await self._restart(request)
                except (Conflict, Expired):  # the latter: the list took too long
                    await asyncio.sleep(PAUSE * random.uniform(0.5, 1.5))
            return RestartResult(retry_after=CONFLICT_SECONDS)
        except _Nothing as nothing:
            return RestartResult(message=str(nothing))
        except NotFound:
            return RestartResult()
        except (InvalidRequest, PermissionDenied) as failure:
            return RestartResult(message=_refused(failure), retry_after=REFUSED_SECONDS)

    async def _restart(self, request: Restart) -> RestartResult:
        direct, found = await self._controllers(request.pod)
        path = f"/apis/apps/v1/namespaces/{request.pod.namespace}/{WORKLOADS[found.kind]}/{found.name}"
        workload = await self._owner(path, found)
        now = self._api.server_time()
        value = workloads.content_hash(request.class_uid, found.uid, request.volume_name, request.objects)
        if workloads.restarted_for(workload).get(request.volume_name) == value:
            return RestartResult()
        reason, may_change = workloads.why_not(found.kind, workload)
        if reason:
            return RestartResult(
                message=f"{found.described} is not restarted: {reason}",
                retry_after=PAUSED_SECONDS if may_change else None,
            )
        if (wait := request.interval - workloads.seconds_since_restart(workload, now)) > 0:
            message = f"{found.described} was restarted a short while ago: again not before {timestamp(now + wait)}"
            return RestartResult(message=message, retry_after=wait)
        if other := await self._differing_pod(request, direct):
            return RestartResult(
                message=f"{found.described} is not restarted: the content differs from pod to pod, as pod {other} has "
                "other versions of the objects"
            )
        patch = workloads.restart_patch(workload, request.volume_name, value, now)
        await self._api.call("PATCH", path, body=patch, content_type=MERGE_PATCH)
        log.info("Restarted a workload", workload=found.described, pod=request.pod, volume=request.volume_name)
        return RestartResult(restarted=True, message=f"{found.described} is restarted")

    async def _controllers(self, pod: Pod) -> tuple[Controller, Controller]:
        """The pod's own controller, and the workload to restart, which mostly is the same. Raises _Nothing."""
        direct = workloads.controller_of(await self._pod(pod))
        if direct is None:
            raise _Nothing("the pod has no controller that would replace it: delete and create it yourself")
        if not direct.kind:
            raise _Nothing(f"{direct.described} is not restarted: only Deployments, StatefulSets and DaemonSets are")
        if direct.kind != REPLICA_SET:
            return direct, direct
        path = f"/apis/apps/v1/namespaces/{pod.namespace}/replicasets/{direct.name}"
        found = workloads.controller_of(await self._owner(path, direct))
        if found is None or found.kind != "Deployment":
            above = "has no Deployment" if found is None else f"is not a Deployment's but that of {found.described}"
            raise _Nothing(f"{direct.described} is not restarted, since it {above}")
        return direct, found

    async def _pod(self, pod: Pod) -> Object:
        found = await self._api.call("GET", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}")
        if found["metadata"]["uid"] != pod.uid or workloads.is_being_deleted(found):
            raise _Nothing
        return found

    async def _owner(self, path: str, owner: Controller) -> Object:
        found = await self._api.call("GET", path)
        if found["metadata"]["uid"] != owner.uid or workloads.is_being_deleted(found):
            raise _Nothing
        return found

    async def _differing_pod(self, request: Restart, controller: Controller) -> str:
        """The name of a pod of the same controller whose volume has content that this one neither has nor had; empty
        if there is none among the first pods. One whose refreshes fail does not count."""
        path, asked = f"{API_PATH}/namespaces/{request.pod.namespace}/{PLURAL}", 0
        listed = pages(self._api, path, limits.STATUS_PAGE, most=limits.MAX_SIBLING_STATUSES)
        async with contextlib.aclosing(listed):
            async for page in listed:
                for pod in _candidates(page.items, request):
                    if await self._is_sibling(pod, controller):
                        return pod.name
                    asked += 1
                    if asked == limits.MAX_SIBLING_PODS:
                        return ""
        return ""

    async def _is_sibling(self, pod: Pod, controller: Controller) -> bool:
        """Whether the pod, as the API server has it, is there and of this controller: pod statuses are only claims."""
        try:
            found = workloads.controller_of(await self._pod(pod))
        except (NotFound, _Nothing):
            return False
        return found is not None and found.uid == controller.uid


def _candidates(statuses: Sequence[Object], request: Restart) -> list[Pod]:
    """The pods whose pod statuses say that they have the same volume with content that this one neither has nor had."""
    same = {workloads.versions_digest(request.objects), *request.before}
    records = [record for item in statuses if (record := parse_status(item)) and _is_candidate(record, request)]
    return [record.pod for record in records if workloads.versions_digest(record.objects) not in same]


def _is_candidate(record: VolumeRecord, request: Restart) -> bool:
    """Whether a pod status is that of the same volume in another pod."""
    return (
        (record.class_ref, record.volume_name) == (request.class_ref, request.volume_name)
        and record.pod.uid != request.pod.uid
        and record.failure is None
        and names_its_pod(record)
        and is_object_name(record.pod.name)
    )


def _refused(failure: Failure) -> str:
    if is_refused_by_admission(failure) or isinstance(failure, InvalidRequest):
        return f"the workload of the pod cannot be restarted: the cluster refuses it: {failure}"
    return (
        "the workload of the pod cannot be restarted: the driver's account needs get on replicasets, and get and patch "
        "on deployments, statefulsets and daemonsets; install the chart with restartOnRotation.enabled=true "
        f"({failure})"
    )
