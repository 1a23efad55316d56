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

from driver import limits
from driver.objects.secret_syncs import Object, SecretSync
from driver.ports import ProviderClass
from driver.providers import wire
from driver.providers.pool import ProviderPool
from driver.publish.attributes import PERMISSION, go_json
from driver.publish.composed.compose import add_composed_files
from driver.publish.request import POD_NAME, POD_NAMESPACE, POD_UID, RESERVED_PREFIX, SERVICE_ACCOUNT_TOKENS
from driver.secretsync import conditions, secret
from driver.secretsync.ports import Classes, Events, Secrets, Statuses, Tokens
from driver.secretsync.secret import Deleted, SyncFailure
from driver.volume.payload import files_of
from runtime import redact
from runtime.errors import Failure, PreconditionFailed, Unavailable
from runtime.rpc import code_of
from runtime.timestamps import timestamp

SERVICE_ACCOUNT_NAME = RESERVED_PREFIX + "serviceAccount.name"
# A provider is sent a target path, although there is no mount.
TARGET_PATH = "/secrets-store-sync/no-mount"
MOUNT_SECONDS, WRITE_SECONDS = 60.0, 30.0
# A provider that takes longer: the status says that the sync has begun.
ANNOUNCE_SECONDS = 2.0


@dataclass(frozen=True)
class Identity:
    """The controller's own pod, which providers see as the pod that mounts."""

    pod_name: str
    pod_uid: str


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
        self._providers = providers
        self._parser = parser
        self._identity = identity

    async def find_class(self, sync: SecretSync) -> ProviderClass:
        """Step 1. Raises SyncFailure."""
        if not sync.class_name:  # the CRD of another release may accept that
            raise _misconfigured("", "spec.secretProviderClassName is empty: name a class of the same namespace")
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                found = await self.cluster.classes.get(sync.class_ref)
        except TimeoutError:
            raise _misconfigured(sync.class_name, "the API server does not answer") from None
        except (Failure, ValueError) as failure:
            raise _misconfigured(sync.class_name, str(failure)) from None
        if not found.provider:
            raise _misconfigured(sync.class_name, "provider not set: set spec.provider")
        return found

    async def sync(
        self, sync: SecretSync, provider_class: ProviderClass, version: str, is_deleted: Callable[[], bool]
    ) -> Synced:
        """Steps 2 to 6, in a context that withholds secrets. ``version`` is the Secret's resourceVersion if that is
        known. Raises SyncFailure, or Deleted: what is written then would be that of another SecretSync, if one of this
        name was made meanwhile."""
        secret.check_metadata(sync)
        async with AsyncExitStack() as held:  # the memory of the reply, until the Secret is written
            files = await self._announced(sync, self._fetch(sync, provider_class, held))
            data, repeated = await self._data(sync, files)
            redact.withhold(*data.values())
            if is_deleted():
                raise Deleted
            new_version = await self._apply(sync, secret.build(sync, data), first=not version)
        if is_deleted():
            raise Deleted
        new_hash = secret.sync_hash(sync, provider_class, new_version)
        written = new_version != version if version else new_hash != sync.sync_hash
        status = _status(sync, conditions.succeeded(sync), new_hash, written=written)
        if written and repeated:
            message = f"several sources have the keys {', '.join(sorted(repeated)[:10])}; the last one counts"
            self.cluster.events.send(sync, warning=True, reason="RepeatedKeys", message=message)
        return Synced(await self._write_status(sync, status), provider_class, new_version, written)

    async def report(self, sync: SecretSync, failure: SyncFailure) -> SecretSync:
        """The condition and the event of a failure; returns the SecretSync with its new status."""
        message = redact.text(failure)
        self.cluster.events.send(sync, warning=True, reason=failure.reason, message=message)
        status: Object = {"conditions": conditions.failed(sync, failure.reason, message)}
        return await self._write_status(sync, status)

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
                await self._write_status(sync, {"conditions": conditions.starting(sync)})
            return await task
        finally:
            task.cancel()

    async def _fetch(
        self, sync: SecretSync, provider_class: ProviderClass, held: AsyncExitStack
    ) -> Mapping[str, bytes]:
        """Steps 2 and 3."""
        deadline = asyncio.get_running_loop().time() + MOUNT_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                tokens = await self.cluster.tokens.get(sync.ref.namespace, sync.service_account)
        except TimeoutError:
            raise SyncFailure(
                conditions.SYNC_ERROR, "the API server does not answer to a request for a token"
            ) from None
        except Failure as failure:
            raise SyncFailure(conditions.SYNC_ERROR, str(failure)) from None
        attributes = self._attributes(sync, provider_class, tokens)
        reply = await self._mount(provider_class, attributes, deadline, held)
        return await self._files(provider_class, reply, held)

    async def _mount(
        self, provider_class: ProviderClass, attributes: str, deadline: float, held: AsyncExitStack
    ) -> wire.MountReply:
        try:
            return await self._providers.mount(
                provider_class.provider,
                wire.mount_request(attributes, "{}", TARGET_PATH, PERMISSION),
                deadline,
                readable_by_group=False,
                subject=str(provider_class.class_ref),
                held=held,
            )
        except PreconditionFailed as failure:
            raise _misconfigured(provider_class.class_ref.name, str(failure)) from None  # no such provider
        except Failure as failure:
            overloaded = code_of(failure).name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
            sentence = f"{conditions.FAILED_FETCH}: {failure}"
            raise SyncFailure(conditions.PROVIDER_ERROR, sentence, overloaded=overloaded) from None

    async def _files(
        self, provider_class: ProviderClass, reply: wire.MountReply, held: AsyncExitStack
    ) -> Mapping[str, bytes]:
        if not reply.payload:
            raise SyncFailure(
                conditions.PROVIDER_ERROR,
                f"{conditions.FAILED_FETCH}: provider {provider_class.provider} replied without files. A provider that "
                "writes them to the volume itself cannot be used here, as there is no volume",
            )
        try:
            composed = await add_composed_files(
                reply, provider_class.files, limits.MAX_VOLUME_ENTRIES, self._providers, held
            )
        except Failure as failure:
            raise SyncFailure(conditions.FETCH_FAILED, f"{conditions.FAILED_FETCH}: {failure}") from None
        return {file.path: file.contents for file in files_of(composed.payload)}

    async def _data(self, sync: SecretSync, files: Mapping[str, bytes]) -> tuple[Mapping[str, bytes], Sequence[str]]:
        """Step 4."""
        try:
            return await secret.data_of(sync, files, self._parser)
        except Unavailable as failure:  # the parser's process cannot be started
            raise SyncFailure(conditions.SYNC_ERROR, str(failure), overloaded=True) from None

    def _attributes(self, sync: SecretSync, provider_class: ProviderClass, tokens: str) -> str:
        attributes = {k: v for k, v in provider_class.parameters.items() if not k.startswith(RESERVED_PREFIX)}
        attributes[POD_NAME], attributes[POD_UID] = self._identity.pod_name, self._identity.pod_uid
        attributes[POD_NAMESPACE] = sync.ref.namespace
        attributes[SERVICE_ACCOUNT_NAME] = sync.service_account
        if tokens:
            attributes[SERVICE_ACCOUNT_TOKENS] = tokens
        return go_json(attributes)

    async def _apply(self, sync: SecretSync, wanted: Object, *, first: bool) -> str:
        prefix = f'failed to patch secret "{sync.ref.name}": '
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                return await self.cluster.secrets.apply(wanted, first=first)
        except TimeoutError:
            raise SyncFailure(conditions.PATCH_ERROR, prefix + "the API server does not answer") from None
        except Failure as failure:
            raise SyncFailure(conditions.PATCH_ERROR, prefix + redact.text(failure)) from None

    async def _write_status(self, sync: SecretSync, status: Object) -> SecretSync:
        """Write what is new; returns the SecretSync as it is then."""
        new = replace(
            sync,
            conditions=tuple(status["conditions"]),
            sync_hash=status.get("syncHash", sync.sync_hash),
            last_sync=status.get("lastSuccessfulSyncTime", sync.last_sync),
        )
        if (new.conditions, new.sync_hash, new.last_sync) != (sync.conditions, sync.sync_hash, sync.last_sync):
            try:
                await self.cluster.statuses.write(sync.ref, status)
            except Failure as failure:
                raise SyncFailure(conditions.SYNC_ERROR, f"the status cannot be written: {failure}") from None
        return new


def _status(sync: SecretSync, found: list[Object], new_hash: str, *, written: bool) -> Object:
    status: Object = {"conditions": found}
    if written or new_hash != sync.sync_hash:
        status["syncHash"] = new_hash
    if written:
        status["lastSuccessfulSyncTime"] = timestamp(time.time())
    return status


def _misconfigured(class_name: str, sentence: str) -> SyncFailure:
    return SyncFailure(conditions.MISCONFIGURED, f'failed to get SecretProviderClass "{class_name}": {sentence}')
