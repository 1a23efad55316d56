"""One sync of one SecretSync, step by step.

1. Read the class, from the cache.
2. Get tokens of the service account, from the cache; none without audiences.
3. Call the provider, as NodePublishVolume does.
4. Build the Secret from the files of the reply.
5. Write it by server-side apply; the API server decides whether that changes anything.
6. Write the status, if it says something new. It is written last, so that it never announces a Secret that is not
   there.

A failure in any step leaves the Secret as it is, and is a condition and an event.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from driver.objects.secret_syncs import Object, SecretSync
from driver.ports import ProviderClass
from driver.providers.pool import ProviderPool
from driver.secretsync import conditions, secret
from driver.secretsync.fetching import Fetcher, Identity
from driver.secretsync.ports import Classes, Events, Secrets, Statuses, Tokens
from driver.secretsync.secret import Deleted, SyncFailure, misconfigured
from runtime import redact
from runtime.errors import Failure, Unavailable
from runtime.timestamps import timestamp

WRITE_SECONDS = 30.0
# A provider that takes longer: the status says that the sync has begun.
ANNOUNCE_SECONDS = 2.0


@dataclass(frozen=True)
class Synced:
    """The end of a sync: the SecretSync with its new status, the class, and the Secret's resourceVersion."""

    sync: SecretSync
    provider_class: ProviderClass
    version: str
    written: bool


@dataclass(frozen=True)
class Cluster:
    """The implementations of ``ports``."""

    classes: Classes
    tokens: Tokens
    secrets: Secrets
    statuses: Statuses
    events: Events


class Reconciler:
    """Does the steps."""

    def __init__(
        self, cluster: Cluster, providers: ProviderPool, parser: secret.ObjectParser, identity: Identity
    ) -> None:
        self.cluster = cluster
        self._fetcher = Fetcher(cluster.tokens, providers, identity)
        self._parser = parser

    async def find_class(self, sync: SecretSync) -> ProviderClass:
        """Step 1. Raises SyncFailure."""
        if not sync.class_name:  # the CRD of another release may accept that
            raise misconfigured("", "spec.secretProviderClassName is empty: name a class of the same namespace")
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                found = await self.cluster.classes.get(sync.class_ref)
        except TimeoutError:
            raise misconfigured(sync.class_name, "the API server does not answer") from None
        except (Failure, ValueError) as failure:
            raise misconfigured(sync.class_name, str(failure)) from None
        if not found.provider:
            raise misconfigured(sync.class_name, "provider not set: set spec.provider")
        return found

    async def sync(
        self, sync: SecretSync, provider_class: ProviderClass, version: str, is_deleted: Callable[[], bool]
    ) -> Synced:
        """Steps 2 to 6, in a context that withholds secrets. ``version`` is the Secret's resourceVersion if that is
        known. Raises SyncFailure, or Deleted: what is written then would be that of another SecretSync, if one of this
        name was made meanwhile."""
        secret.check_metadata(sync)
        async with AsyncExitStack() as held:  # the memory of the reply, until the Secret is written
            files = await self._announced(sync, self._fetcher.fetch(sync, provider_class, held))
            data, repeated = await self._data(sync, files)
            redact.withhold(*data.values())
            if is_deleted():
                raise Deleted
            new_version = await self._apply(sync, secret.build(sync, data), first=not version)
        if is_deleted():
            raise Deleted
        new_hash = secret.sync_hash(sync, provider_class, new_version)
        written = new_version != version if version else new_hash != sync.sync_hash
        last_sync = timestamp(time.time()) if written else sync.last_sync
        new = replace(sync, conditions=conditions.succeeded(sync), sync_hash=new_hash, last_sync=last_sync)
        if written and repeated:
            message = f"several sources have the keys {', '.join(sorted(repeated)[:10])}; the last one counts"
            self.cluster.events.send(sync, warning=True, reason="RepeatedKeys", message=message)
        return Synced(await self._write_status(sync, new), provider_class, new_version, written)

    async def report(self, sync: SecretSync, failure: SyncFailure) -> SecretSync:
        """The condition and the event of a failure; returns the SecretSync with its new status."""
        message = redact.text(failure)
        self.cluster.events.send(sync, warning=True, reason=failure.reason, message=message)
        return await self._write_status(
            sync, replace(sync, conditions=conditions.failed(sync, failure.reason, message))
        )

    async def _announced(
        self, sync: SecretSync, fetching: Coroutine[Any, Any, Mapping[str, bytes]]
    ) -> Mapping[str, bytes]:
        """What the coroutine returns; if it takes long and nothing is known of the SecretSync, its status says so."""
        if sync.conditions:
            return await fetching
        task = asyncio.ensure_future(fetching)
        try:
            await asyncio.wait([task], timeout=ANNOUNCE_SECONDS)
            if not task.done():
                await self._write_status(sync, replace(sync, conditions=conditions.starting(sync)))
            return await task
        finally:
            task.cancel()

    async def _data(self, sync: SecretSync, files: Mapping[str, bytes]) -> tuple[Mapping[str, bytes], Sequence[str]]:
        """Step 4."""
        try:
            return await secret.data_of(sync, files, self._parser)
        except Unavailable as failure:  # the parser's process cannot be started
            raise SyncFailure(conditions.SYNC_ERROR, str(failure), overloaded=True) from None

    async def _apply(self, sync: SecretSync, wanted: Object, *, first: bool) -> str:
        prefix = f'failed to patch secret "{sync.ref.name}": '
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                return await self.cluster.secrets.apply(wanted, first=first)
        except TimeoutError:
            raise SyncFailure(conditions.PATCH_ERROR, prefix + "the API server does not answer") from None
        except Failure as failure:
            raise SyncFailure(conditions.PATCH_ERROR, prefix + redact.text(failure)) from None

    async def _write_status(self, former: SecretSync, new: SecretSync) -> SecretSync:
        """Write what of the status is new, if anything is; returns the SecretSync as it is then."""
        status: Object = {}
        if new.conditions != former.conditions:
            status["conditions"] = [item.document() for item in new.conditions]
        if new.sync_hash != former.sync_hash:
            status["syncHash"] = new.sync_hash
        if new.last_sync != former.last_sync:
            status["lastSuccessfulSyncTime"] = new.last_sync
        if status:
            try:
                await self.cluster.statuses.write(former.ref, status)
            except Failure as failure:
                raise SyncFailure(conditions.SYNC_ERROR, f"the status cannot be written: {failure}") from None
        return new
