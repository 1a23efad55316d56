"""The calls of the Go driver (v1.6.0) on a node, replayed: what it lists, watches and writes, in its order and with its
limit of calls a second. No program of it is run.

 - Informers that start when they are first needed: all classes, all managed Secrets, the node's pods and pod statuses.
 - A publish creates the pod status, or updates it if it exists, even if nothing has changed.
 - Each new pod status, and all of them every five minutes, is reconciled by one worker: the Secret is created, and
   replaced if it exists, without its owners.
 - Every five seconds a patcher adds owners that a Secret lacks. It and the worker exclude each other.

All objects are JSON here; the Go driver reads pods and Secrets as protobuf, which is smaller.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from bench.nodes.fleet import CLASS_API, NAMESPACE, OBJECT, NodeSpec, PodVolume
from bench.nodes.informer import Informer
from bench.nodes.throttled import Object, ThrottledClient
from bench.nodes.trio_caches import Caches
from bench.nodes.trio_objects import event, pod_status, secret, status_name

PATCH_SECONDS = 5.0
TRIES, PAUSE = 5, 0.001
FIRST_REQUEUE, LAST_REQUEUE = 0.005, 1000.0
POLL = 0.1
_STATUSES = f"/apis/{CLASS_API}/namespaces/{NAMESPACE}/secretproviderclasspodstatuses"
_SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
_MERGE_PATCH = "application/merge-patch+json"


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
        self._caches = Caches(self._volumes, self._enqueue)
        self._informers: dict[str, Informer] = {}
        self._queue: dict[str, None] = {}
        self._any_queued = asyncio.Event()
        self._failures: dict[str, int] = {}
        # Versions: of the pod status that was written and reconciled last, and of the Secret that was written last.
        self._written, self._reconciled, self._secret_written = dict[str, int](), dict[str, int](), dict[str, int]()
        self._exclusive = asyncio.Lock()
        self._tasks = [self._spawn(self._work()), self._spawn(self._patch_owners())]
        await self._informer("statuses")
        if self._published:
            await self._converged()

    async def stop(self) -> None:
        """Its informers end with the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            await self._client.close()
        self._tasks = []

    async def publish(self) -> None:
        """All volumes at once, as kubelet does."""
        await self._publish_all("v1")
        self._published = True

    async def refresh(self, version: str) -> None:
        """A republish of a volume that is due writes its pod status, which is then reconciled."""
        await self._publish_all(version)

    async def check(self) -> None:
        """What each reconcile asks for in five minutes."""
        self._reconciled.clear()
        for name in self._volumes:
            self._enqueue(name)
        await self._converged()

    async def class_changed(self, mark: str) -> None:
        """The informer has it; nothing is done."""
        await self._until(lambda: self._caches.shared_mark == mark)

    async def event(self) -> None:
        """One call."""
        status, _ = await self._client.call(
            "POST", f"/api/v1/namespaces/{NAMESPACE}/events", event(self._spec.volumes[0])
        )
        if status != 201:
            raise ConnectionError(f"an event was answered with status {status}")

    async def _publish_all(self, version: str) -> None:
        await self._informer("classes")
        await asyncio.gather(*(self._publish(volume, version) for volume in self._spec.volumes))
        await self._converged()

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
        self._written[name] = _version(answer)

    async def _work(self) -> None:
        while True:
            await self._any_queued.wait()
            self._any_queued.clear()
            while self._queue:
                name = next(iter(self._queue))
                del self._queue[name]
                async with self._exclusive:
                    await self._try_to_reconcile(name)

    async def _try_to_reconcile(self, name: str) -> None:
        await self._informer("pods")
        await self._informer("classes")
        version = _version(self._caches.statuses[name])
        try:
            done = await self._write_secret(self._volumes[name])
        except OSError:
            done = False
        if done:
            self._failures.pop(name, None)
            self._reconciled[name] = version
            return
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        pause = min(FIRST_REQUEUE * 2.0 ** (failures - 1), LAST_REQUEUE)
        asyncio.get_running_loop().call_later(pause, self._enqueue, name)

    async def _write_secret(self, volume: PodVolume) -> bool:
        body = secret(volume, f"the password, {self._caches.version_of(status_name(volume), OBJECT)}")
        for _ in range(TRIES):
            status, answer = await self._client.call("POST", _SECRETS, body)
            if status == 409:
                status, answer = await self._client.call("PUT", f"{_SECRETS}/{volume.secret_name}", body)
            if status < 300:
                self._secret_written[volume.secret_name] = _version(answer)
                return True
            await asyncio.sleep(PAUSE)
        return False

    async def _patch_owners(self) -> None:
        while True:
            await asyncio.sleep(PATCH_SECONDS)
            if not self._caches.statuses:
                continue
            async with self._exclusive:
                for name in ("classes", "pods", "secrets"):
                    await self._informer(name)
                for status in list(self._caches.statuses):
                    try:
                        await self._patch_owner(self._volumes[status])
                    except OSError:
                        break

    async def _patch_owner(self, volume: PodVolume) -> None:
        path = f"{_SECRETS}/{volume.secret_name}"
        for _ in range(TRIES):
            known = self._caches.secrets.get(volume.secret_name)
            if known is None or self._caches.is_owned(volume):
                return
            owners = [*known["metadata"].get("ownerReferences", ()), volume.owner]
            change = {
                "metadata": {"resourceVersion": known["metadata"]["resourceVersion"], "ownerReferences": owners}
            }
            status, _ = await self._client.call("PATCH", path, change, _MERGE_PATCH)
            if status < 300:
                return
            await asyncio.sleep(PAUSE)

    async def _informer(self, what: str) -> None:
        """Start one unless it runs, and wait until it has listed its objects."""
        if what not in self._informers:
            self._informers[what] = informer = self._caches.informer(what, self._client, self._spec.name)
            self._tasks.append(self._spawn(informer.run()))
        await self._informers[what].synced.wait()

    def _enqueue(self, name: str) -> None:
        self._queue[name] = None
        self._any_queued.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.create_task(work)

    async def _converged(self) -> None:
        """All pod statuses that were written are reconciled, and all Secrets have their owners."""
        await self._until(lambda: all(self._is_reconciled(*item) for item in self._volumes.items()))

    def _is_reconciled(self, name: str, volume: PodVolume) -> bool:
        found: Object = self._caches.secrets.get(volume.secret_name, {})
        return (
            self._reconciled.get(name, -1) >= self._written.get(name, 0)
            and bool(found)
            and _version(found) >= self._secret_written.get(volume.secret_name, 0)
            and self._caches.is_owned(volume)
        )

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._raise_bugs(self._tasks)
            await asyncio.sleep(POLL)

    def _raise_bugs(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """No task ends by itself."""
        for task in tasks:
            if task.done():
                task.result()


def _version(item: Object) -> int:
    return int(item["metadata"]["resourceVersion"])
