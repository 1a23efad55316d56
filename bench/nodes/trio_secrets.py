"""How a replayed Go driver syncs Secrets: a controller with one worker, and a patcher of owners. They exclude each
other."""

import asyncio
from collections.abc import Mapping

from bench.nodes.fleet import NAMESPACE, OBJECT, PodVolume
from bench.nodes.throttled import Object, ThrottledClient
from bench.nodes.trio_caches import Caches
from bench.nodes.trio_objects import secret, status_name

PATCH_SECONDS = 5.0
TRIES, PAUSE = 5, 0.001
FIRST_REQUEUE, LAST_REQUEUE = 0.005, 1000.0
_SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
_MERGE_PATCH = "application/merge-patch+json"


class SecretController:
    """``work`` and ``patch_owners`` run until they are cancelled; ``volumes`` are by the names of their statuses."""

    def __init__(self, client: ThrottledClient, caches: Caches, volumes: Mapping[str, PodVolume]) -> None:
        self._client, self._caches, self._volumes = client, caches, volumes
        self._queue: dict[str, None] = {}
        self._any_queued = asyncio.Event()
        self._failures: dict[str, int] = {}
        self._exclusive = asyncio.Lock()
        # Versions: of the pod status that was reconciled last, and of the Secret that was written last.
        self._reconciled: dict[str, int] = {}
        self._written: dict[str, int] = {}

    def enqueue(self, name: str) -> None:
        """A pod status is new, or has changed."""
        self._queue[name] = None
        self._any_queued.set()

    def reconcile_all(self) -> None:
        """What each reconcile asks for in five minutes."""
        self._reconciled.clear()
        for name in self._volumes:
            self.enqueue(name)

    def has_synced(self, written: Mapping[str, int]) -> bool:
        """Whether these versions of the pod statuses, and all others, are reconciled, and all Secrets have owners."""
        return all(self._has_synced(name, written.get(name, 0), volume) for name, volume in self._volumes.items())

    async def work(self) -> None:
        """The worker of the controller."""
        while True:
            await self._any_queued.wait()
            self._any_queued.clear()
            while self._queue:
                name = next(iter(self._queue))
                del self._queue[name]
                async with self._exclusive:
                    await self._reconcile(name)

    async def patch_owners(self) -> None:
        """The patcher."""
        while True:
            await asyncio.sleep(PATCH_SECONDS)
            if not self._caches.statuses:
                continue
            async with self._exclusive:
                await self._caches.synced("classes", "pods", "secrets")
                for status in list(self._caches.statuses):
                    try:
                        await self._patch_owner(self._volumes[status])
                    except OSError:
                        break  # as for any failure: the next pass begins anew

    async def _reconcile(self, name: str) -> None:
        await self._caches.synced("pods", "classes")
        version = version_of(self._caches.statuses[name])
        try:
            done = await self._write(self._volumes[name])
        except OSError:
            done = False
        if done:
            self._failures.pop(name, None)
            self._reconciled[name] = version
            return
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        pause = min(FIRST_REQUEUE * 2.0 ** (failures - 1), LAST_REQUEUE)
        asyncio.get_running_loop().call_later(pause, self.enqueue, name)

    async def _write(self, volume: PodVolume) -> bool:
        """Create the Secret, or replace it; False if that has failed as often as is tried."""
        body = secret(volume, f"the password, {self._caches.version_of(status_name(volume), OBJECT)}")
        for _ in range(TRIES):
            status, answer = await self._client.call("POST", _SECRETS, body)
            if status == 409:
                status, answer = await self._client.call("PUT", f"{_SECRETS}/{volume.secret_name}", body)
            if status < 300:
                self._written[volume.secret_name] = version_of(answer)
                return True
            await asyncio.sleep(PAUSE)
        return False

    async def _patch_owner(self, volume: PodVolume) -> None:
        path = f"{_SECRETS}/{volume.secret_name}"
        for _ in range(TRIES):
            known = self._caches.secrets.get(volume.secret_name)
            if known is None or self._caches.is_owned(volume):
                return
            owners = [*known["metadata"].get("ownerReferences", ()), volume.owner]
            change = {"metadata": {"resourceVersion": known["metadata"]["resourceVersion"], "ownerReferences": owners}}
            status, _ = await self._client.call("PATCH", path, change, _MERGE_PATCH)
            if status < 300:
                return
            await asyncio.sleep(PAUSE)

    def _has_synced(self, name: str, written: int, volume: PodVolume) -> bool:
        found: Object = self._caches.secrets.get(volume.secret_name, {})
        return (
            self._reconciled.get(name, -1) >= written
            and bool(found)
            and version_of(found) >= self._written.get(volume.secret_name, 0)
            and self._caches.is_owned(volume)
        )


def version_of(item: Object) -> int:
    """An object's resourceVersion: a number in this API server, later ones being higher."""
    return int(item["metadata"]["resourceVersion"])
