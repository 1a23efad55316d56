"""Leader election by a Lease, with client-go's times (https://kubernetes.io/docs/concepts/architecture/leases/).

1. A replica reads the Lease every RETRY_SECONDS. It takes a Lease that does not exist, that nobody holds, or that has
   not changed for its ``leaseDurationSeconds`` as this replica has seen it: clocks of others are not believed.
2. The leader renews it every RETRY_SECONDS, with the resourceVersion that it has read: of two that take it, one gets a
   409.
3. A leader that could not renew it for RENEW_SECONDS stops working, well before others may take it after LEASE_SECONDS.
4. A replica that ends gives it up, so that another one takes over at once. If it ends while it waits for the answer to
   a write, the write may have been made: then the Lease is read before, and again if that write was later still.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from driver.cluster.answers import Conflict
from driver.cluster.api import Api
from runtime import logs
from runtime.errors import Failure, NotFound

log = logs.get(__name__)

LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS = 15.0, 10.0, 2.0
RELEASE_SECONDS = 3.0

Object = dict[str, Any]


class Elected:
    """Runs work while this replica is the leader."""

    def __init__(self, api: Api, namespace: str, name: str, identity: str) -> None:
        self._api = api
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._namespace = namespace
        self._identity = identity
        # The Lease as it was last read, and the loop time at which it was first seen so.
        self._seen: Object | None = None
        self._seen_at = 0.0
        # A write was sent, and its result is not known: the Lease may be another one than was seen.
        self._unanswered = False
        self._logged = ""
        self.leading = False

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do ``work`` whenever this replica is the leader, until cancelled; it is cancelled when leadership is lost."""
        while True:
            try:
                await self._acquire()
                await self._lead(work)
            finally:
                await self._release()
            log.warning("This replica is the leader no more", lease=self._name)

    async def _lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Work until the Lease is lost; raises what ended the work."""
        self.leading = True
        log.info("This replica is the leader", lease=self._name, identity=self._identity)
        running = asyncio.ensure_future(work())
        try:
            await self._renew_while(running)
        finally:
            self.leading = False
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        if not running.cancelled() and (error := running.exception()) is not None:
            raise error

    async def _acquire(self) -> None:
        acquired = await self._attempt()
        while not acquired:
            await asyncio.sleep(RETRY_SECONDS * random.uniform(0.8, 1.2))
            acquired = await self._attempt()

    async def _renew_while(self, running: "asyncio.Future[None]") -> None:
        """Renew until the work ends or the Lease is lost."""
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.wait([running], timeout=RETRY_SECONDS)
            if running.done():
                return
            started = loop.time()
            if await self._attempt(renewed + RENEW_SECONDS):
                renewed = started
            elif self._holder() not in ("", self._identity) or loop.time() >= renewed + RENEW_SECONDS:
                return

    async def _attempt(self, deadline: float | None = None) -> bool:
        """Whether the Lease is this replica's now."""
        loop = asyncio.get_running_loop()
        if deadline is None:
            deadline = loop.time() + RENEW_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                return await self._take()
        except Conflict:
            return False  # another replica was faster
        except (Failure, TimeoutError) as failure:
            if str(failure) != self._logged:
                self._logged = str(failure)
                log.warning("The Lease cannot be had", lease=self._name, err=failure)
            return False

    async def _take(self) -> bool:
        if self._seen is not None and self._holder() == self._identity:
            try:  # without reading it: nobody else writes it as long as it is renewed
                self._see(await self._put(self._lease(self._seen, _transitions(self._seen))))
                return True
            except (Conflict, NotFound):
                pass  # but somebody did
        try:
            found = await self._get()
        except NotFound:
            self._see(await self._write("POST", self._collection, self._lease({}, 0)))
            return True
        self._see(found)
        if self._holder() not in ("", self._identity) and not self._expired():
            return False
        transitions = _transitions(found) + (self._holder() != self._identity)
        self._see(await self._put(self._lease(found, transitions)))
        return True

    def _see(self, lease: Object) -> None:
        self._unanswered = False
        if self._seen is None or self._seen["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"]:
            self._seen, self._seen_at = lease, asyncio.get_running_loop().time()

    def _holder(self) -> str:
        return str(((self._seen or {}).get("spec") or {}).get("holderIdentity") or "")

    def _expired(self) -> bool:
        spec = (self._seen or {}).get("spec") or {}
        seconds = float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)
        return asyncio.get_running_loop().time() >= self._seen_at + seconds

    async def _release(self) -> None:
        with contextlib.suppress(Failure, TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                while not await self._is_released():
                    pass  # written meanwhile: it is read again

    async def _is_released(self) -> bool:
        """Give the Lease up if it is this replica's; False if another write was faster."""
        if self._unanswered:
            self._see(await self._get())
        if self._seen is None or self._holder() != self._identity:
            return True
        lease = self._lease(self._seen, _transitions(self._seen))
        lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            self._see(await self._put(lease))
        except Conflict:
            return False
        return True

    async def _get(self) -> Object:
        return await self._api.call("GET", f"{self._collection}/{self._name}")

    async def _put(self, lease: Object) -> Object:
        return await self._write("PUT", f"{self._collection}/{self._name}", lease)

    async def _write(self, method: str, path: str, lease: Object) -> Object:
        self._unanswered = True
        return await self._api.call(method, path, body=lease)

    def _lease(self, former: Object, transitions: int) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = former.get("spec") or {}
        mine = spec.get("holderIdentity") == self._identity
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": former.get("metadata") or {"namespace": self._namespace, "name": self._name},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": int(LEASE_SECONDS),
                "acquireTime": spec.get("acquireTime") if mine else now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }


def _transitions(lease: Object) -> int:
    return int((lease.get("spec") or {}).get("leaseTransitions") or 0)
