"""Step 6 of ``publisher``: the content of a volume, as the provider replies with it and the class composes it."""

from contextlib import AsyncExitStack
from functools import partial

from driver.config import DriverConfig
from driver.ports import ProviderClass
from driver.providers import wire
from driver.providers.pool import ProviderPool
from driver.publish import attributes
from driver.publish.attributes import MountAttributes
from driver.publish.composed.compose import add_composed_files
from driver.publish.failures import failed_mount, failed_step
from driver.publish.fetching.account import account_of
from driver.publish.fetching.key import FetchKey, key_of
from driver.publish.fetching.replies import Fetched, Replies, Wanted
from driver.publish.fetching.settings import settings_of
from driver.publish.reporting import Reporter
from driver.publish.request import Attempt, PublishRequest
from driver.publish.stopping import CALL_SECONDS, Stopping
from driver.registry import Volume

NO_ACCOUNT = (
    "kubelet sends no token that names the pod's service account: set tokenRequests in the chart's values, with the "
    "audience that the provider wants"
)


class Fetcher:
    """Raises Failures that have their ``error_type``."""

    def __init__(
        self, config: DriverConfig, providers: ProviderPool, replies: Replies, reporter: Reporter, stopping: Stopping
    ) -> None:
        self._config = config
        self._providers = providers
        self._replies = replies
        self._reporter = reporter
        self._stopping = stopping

    async def fetch(
        self, attempt: Attempt, volume: Volume, provider_class: ProviderClass, held: AsyncExitStack
    ) -> Fetched:
        """Step 6. The reply has its place in memory until ``held`` is closed."""
        request, provider = attempt.request, provider_class.provider
        volume.fingerprint, volume.provider_away = provider_class.fingerprint, False
        try:
            mount = self._merge(request, provider_class)
            if mount.dropped:
                await self._reporter.reserved_parameters(request.pod, request.class_ref, mount.dropped)
            if request.ignored:
                await self._reporter.reserved_attributes(request.pod, request.target.volume_name, request.ignored)
            wanted = await self._wanted(request, volume, provider_class, mount)
        except Exception as error:
            raise failed_step(error, "FailedToMount") from None
        try:
            async with self._stopping.interruptible(lambda: CALL_SECONDS * self._providers.is_connected(provider)):
                fetched = await self._replies.get(wanted, attempt.deadline, held)
        except Exception as error:
            volume.provider_away = not self._providers.is_connected(provider)
            raise failed_mount(error, "GRPCProviderError", request.pod) from None
        try:
            reply = await add_composed_files(
                fetched.reply, provider_class.files, self._config.max_volume_entries, self._providers, held
            )
            return fetched._replace(reply=reply)
        except Exception as error:
            raise failed_step(error, "FailedToMount") from None

    async def ask(
        self, request: PublishRequest, volume: Volume, provider_class: ProviderClass, key: FetchKey, deadline: float
    ) -> FetchKey | None:
        """Have the provider's reply held for ``key``, for a volume that waits for it. Only returns the volume's key if
        that is another one now, as the class has changed; None if nothing may be held. Raises a Failure."""
        wanted = await self._wanted(request, volume, provider_class, self._merge(request, provider_class))
        if wanted.key == key:
            await self._replies.ask(wanted, deadline)
        return wanted.key

    def has_renewed(self, key: FetchKey, since: float) -> bool:
        """As ``Replies.has_renewed``."""
        return self._replies.has_renewed(key, since)

    async def provider_is_back(self, volume: Volume, provider_class: ProviderClass) -> bool:
        """Whether the provider's socket, which did not answer at the last attempt to fetch, answers now."""
        return volume.provider_away and await self._providers.answers(provider_class.provider)

    def _merge(self, request: PublishRequest, provider_class: ProviderClass) -> MountAttributes:
        return attributes.merge(request, provider_class, pod_overrides=self._config.volume_attributes_override)

    async def _wanted(
        self, request: PublishRequest, volume: Volume, provider_class: ProviderClass, mount: MountAttributes
    ) -> Wanted:
        """What the annotations of the class allow, and the call that asks the provider."""
        call = partial(
            self._providers.mount,
            provider_class.provider,
            wire.mount_request(mount.attributes, mount.secrets, request.target.path, attributes.PERMISSION),
            readable_by_group=request.group is not None,
            subject=str(request.class_ref),
        )
        settings = settings_of(provider_class.annotations)
        if settings.problems:
            problem = "; ".join(settings.problems.values())
            await self._reporter.invalid_annotation(request.pod, request.class_ref, problem)
        report = partial(self._reporter.annotation_ignored, request.pod, request.class_ref)
        account = account_of(request) if settings.keep else None
        if settings.keep and account is None:
            await report(NO_ACCOUNT)
        key = None if account is None else key_of(request, provider_class, account, mount)
        return Wanted(volume, provider_class, settings, key, call, report)
