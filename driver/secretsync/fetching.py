"""What a provider delivers for a SecretSync, with the files that its class composes."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from driver import limits
from driver.objects.secret_syncs import SecretSync
from driver.ports import ProviderClass
from driver.providers import wire
from driver.providers.pool import ProviderPool
from driver.publish.attributes import PERMISSION, go_json
from driver.publish.composed.compose import add_composed_files
from driver.publish.request import POD_NAME, POD_NAMESPACE, POD_UID, RESERVED_PREFIX, SERVICE_ACCOUNT_TOKENS
from driver.publish.schedule import interval_of
from driver.secretsync import conditions
from driver.secretsync.ports import Tokens
from driver.secretsync.secret import SyncFailure, misconfigured
from driver.volume.payload import files_of
from runtime import redact
from runtime.errors import Failure, PreconditionFailed
from runtime.rpc import code_of

SERVICE_ACCOUNT_NAME = RESERVED_PREFIX + "serviceAccount.name"
# A provider is sent a target path, although there is no mount.
TARGET_PATH = "/secrets-store-sync/no-mount"
MOUNT_SECONDS = 60.0


@dataclass(frozen=True)
class Identity:
    """The controller's own pod, which providers see as the pod that mounts."""

    pod_name: str
    pod_uid: str


def without_effect(provider_class: ProviderClass) -> Iterator[tuple[str, str]]:
    """What of a class is ignored: the reason and the message of an event for each."""
    subject = f"SecretProviderClass {provider_class.class_ref}"
    if names := sorted(name for name in provider_class.parameters if name.startswith(RESERVED_PREFIX)):
        shown = redact.text(", ".join(name[:80] for name in names[: limits.SHOWN_OBJECTS]))
        message = f"{subject} sets {shown}, which only the controller may set; remove it from spec.parameters"
        yield "ReservedParameter", message
    try:
        interval_of(provider_class.annotations, 0.0)
    except ValueError as error:
        yield "InvalidInterval", f"{subject}: {error}; until it is corrected --rotation-poll-interval applies"


class Fetcher:
    """Calls providers as NodePublishVolume does."""

    def __init__(self, tokens: Tokens, providers: ProviderPool, identity: Identity) -> None:
        self._tokens = tokens
        self._providers = providers
        self._identity = identity

    async def fetch(self, sync: SecretSync, provider_class: ProviderClass, held: AsyncExitStack) -> Mapping[str, bytes]:
        """The files by path; they have their place in memory until ``held`` is closed. Raises SyncFailure."""
        deadline = asyncio.get_running_loop().time() + MOUNT_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                tokens = await self._tokens.get(sync.ref.namespace, sync.service_account)
        except TimeoutError:
            raise SyncFailure(
                conditions.SYNC_ERROR, "the API server does not answer to a request for a token"
            ) from None
        except Failure as failure:
            raise SyncFailure(conditions.SYNC_ERROR, str(failure)) from None
        attributes = self._attributes(sync, provider_class, tokens)
        reply = await self._mount(provider_class, attributes, deadline, held)
        return await self._files(provider_class, reply, held)

    def _attributes(self, sync: SecretSync, provider_class: ProviderClass, tokens: str) -> str:
        attributes = {k: v for k, v in provider_class.parameters.items() if not k.startswith(RESERVED_PREFIX)}
        attributes[POD_NAME], attributes[POD_UID] = self._identity.pod_name, self._identity.pod_uid
        attributes[POD_NAMESPACE] = sync.ref.namespace
        attributes[SERVICE_ACCOUNT_NAME] = sync.service_account
        if tokens:
            attributes[SERVICE_ACCOUNT_TOKENS] = tokens
        return go_json(attributes)

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
            # There is no such provider.
            raise misconfigured(provider_class.class_ref.name, str(failure), away=True) from None
        except Failure as failure:
            overloaded = code_of(failure).name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
            sentence = f"{conditions.FAILED_FETCH}: {failure}"
            away = not self._providers.is_connected(provider_class.provider)
            raise SyncFailure(conditions.PROVIDER_ERROR, sentence, overloaded=overloaded, away=away) from None

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
