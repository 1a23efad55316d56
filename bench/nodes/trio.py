"""The calls of the Go driver (v1.6.0) on a node, replayed: what it lists, watches and writes, in its order and with its
limit of calls a second. No program of it is run.

 - Informers that start when they are first needed: all classes, all managed Secrets, the node's pods and pod statuses.
 - A publish creates the pod status, or updates it if it exists, even if nothing has changed.
 - Each new pod status, and all of them every five minutes, is reconciled by one worker: the Secret is created, and
   replaced if it exists, without its owners.
 - Every five seconds a patcher adds owners that a Secret lacks.

All objects are JSON here; the Go driver reads pods and Secrets as protobuf, which is smaller.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from bench.nodes.fleet import CLASS_API, NAMESPACE, NodeSpec, PodVolume
from bench.nodes.throttled import ThrottledClient
from bench.nodes.trio_caches import Caches
from bench.nodes.trio_objects import event, pod_status, status_name
from bench.nodes.trio_secrets import SecretController, version_of
from tests.support.waiting import until

POLL = 0.1
# The worker ends a job that takes too long.
NO_LIMIT = float("inf")
_STATUSES = f"/apis/{CLASS_API}/namespaces/{NAMESPACE}/secretproviderclasspodstatuses"


class TrioNode:
    """Implements ``Node``."""

    def __init__(self, spec: NodeSpec) -> None:
        self._spec = spec
        self._volumes = {status_name(volume): volume for volume in spec.volumes}
        self._published = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """The manager starts with the informer of its controller; pod statuses that exist are reconciled."""
        self._client = ThrottledClient(Path(self._spec.kubeconfig))
        self._caches = Caches(self._client, self._spec.name, self._volumes)
        self._secrets = SecretController(self._client, self._caches, self._volumes)
        self._caches.on_status = self._secrets.enqueue
        self._written: dict[str, int] = {}
        self._tasks = [asyncio.create_task(self._secrets.work()), asyncio.create_task(self._secrets.patch_owners())]
        await self._caches.synced("statuses")
        if self._published:
            await self._synced()

    async def stop(self) -> None:
        """Also one that does not run."""
        if self._tasks:
            tasks, self._tasks = [*self._tasks, *self._caches.tasks], []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._client.close()

    async def publish(self) -> None:
        """All volumes at once, as kubelet does."""
        await self.refresh("v1")
        self._published = True

    async def refresh(self, version: str) -> None:
        """A republish of a volume that is due writes its pod status, which is then reconciled."""
        await self._caches.synced("classes")
        await asyncio.gather(*(self._publish(volume, version) for volume in self._spec.volumes))
        await self._synced()

    async def check(self) -> None:
        """What each reconcile asks for in five minutes."""
        self._secrets.reconcile_all()
        await self._synced()

    async def classes_changed(self, mark: str, *names: str) -> None:
        """The informer has them; nothing is done."""
        wanted = dict.fromkeys(names or self._spec.classes, mark)
        await self._until(lambda: wanted.items() <= self._caches.marks.items(), f"classes with mark {mark}")

    async def event(self) -> None:
        """One call."""
        path = f"/api/v1/namespaces/{NAMESPACE}/events"
        status, _ = await self._client.call("POST", path, event(self._spec.volumes[0]))
        if status != 201:
            raise ConnectionError(f"an event was answered with status {status}")

    async def _publish(self, volume: PodVolume, version: str) -> None:
        body, name = pod_status(volume, self._spec.name, version), status_name(volume)
        status, answer = await self._client.call("POST", _STATUSES, body)
        if status == 409:
            known = self._caches.statuses.get(name)
            if known is None:
                _, known = await self._client.call("GET", f"{_STATUSES}/{name}")
            body["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"]
            status, answer = await self._client.call("PUT", f"{_STATUSES}/{name}", body)
        if status >= 300:
            raise ConnectionError(f"pod status {name} was answered with status {status}")
        self._written[name] = version_of(answer)

    async def _synced(self) -> None:
        await self._until(lambda: self._secrets.has_synced(self._written), "the Secrets to be synced")

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        def holds() -> bool:
            for task in [*self._tasks, *self._caches.tasks]:
                if task.done():  # none ends by itself
                    task.result()
            return condition()

        await until(holds, what, NO_LIMIT, POLL)
