"""Gets fresh content for the volumes that were served what this node had fetched before the provider went away.

For each key, so for each class and service account, there is one asker, for as long as such a volume is mounted:
1. Every two to four seconds, with jitter, it starts a call to the provider, with the tokens of the volume that kubelet
   has asked for last. A call that hangs does not hold up the next, but only so many are in progress.
2. When one succeeds, each of the volumes is refreshed with its reply, as by rotation: by the steps and under the lock
   of a publish. Hence a provider that comes back gets few calls, whatever the number of pods.
3. After a refusal each volume's pod status says so, and the asker asks less and less often, up to once a minute.
This does not need rotation, nor kubelet's republish; but tokens expire, and only a republish brings new ones.
``stale_refresher`` does to the volumes what 2 and 3 say.
"""

import asyncio
import random
import time
from functools import partial

from driver.publish.attributes import secrets_of
from driver.publish.failures import METHOD
from driver.publish.fetching.account import account_of
from driver.publish.fetching.fetcher import Fetcher
from driver.publish.fetching.key import FetchKey
from driver.publish.fetching.replies import is_answer, is_away
from driver.publish.fetching.stale import StaleVolumes, Waiting
from driver.publish.remote_steps import RemoteSteps
from driver.publish.request import Attempt, PublishRequest
from driver.publish.stale_refresher import StaleRefresher
from driver.registry import VolumeRegistry
from driver.volume.workers import TENANT
from runtime import clock, logs, redact, rpc
from runtime.errors import Failure, ResourceExhausted, Unavailable

log = logs.get(__name__)

# Content is fresh within 10 s of the provider's return: a pause, as long a wait for a call that hangs, and the time of
# the call that succeeds and of the writing.
FIRST_PAUSE, LAST_PAUSE, LAST_PAUSE_REFUSED = 1.0, 2.0, 60.0
TRY_SECONDS, MAX_TRIES = 12.0, 3
# A token that kubelet sent so long ago, and that has expired by the node's clock, is not used: the refusal would count.
TOKEN_SECONDS = 60.0


class Renewals:
    """The askers."""

    def __init__(
        self,
        volumes: VolumeRegistry,
        stale: StaleVolumes,
        fetcher: Fetcher,
        remote: RemoteSteps,
        refresher: StaleRefresher,
    ) -> None:
        self._volumes = volumes
        self._stale = stale
        self._fetcher = fetcher
        self._remote = remote
        self._refresher = refresher
        self._askers: dict[FetchKey, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Ask, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._stale.added.clear()
                for key in self._stale.keys() - self._askers.keys():
                    asker = self._askers[key] = group.create_task(self._ask_until_fresh(key))
                    asker.add_done_callback(partial(self._ended, key))
                await self._stale.added.wait()

    def _ended(self, key: FetchKey, _: "asyncio.Task[None]") -> None:
        del self._askers[key]
        self._stale.added.set()  # another volume may have been added meanwhile

    async def _ask_until_fresh(self, key: FetchKey) -> None:
        TENANT.set(key.class_ref.namespace)
        pause, tries = FIRST_PAUSE, set[asyncio.Task[Failure | None]]()
        try:
            while self._waiting(key):
                await asyncio.sleep(pause * random.uniform(0.75, 1.0))
                newest = max(self._waiting(key), key=lambda item: item.received, default=None)
                if newest is not None and _is_expired(newest):
                    self._stale.away.pop(key, None)  # nobody asks: a new pod does so itself
                elif newest is not None and len(tries) < MAX_TRIES:
                    tries.add(asyncio.create_task(self._try(key, newest.request)))
                done, tries = await asyncio.wait(tries, timeout=pause) if tries else (set(), tries)
                failures = [task.result() for task in done]
                if None in failures or self._has_renewed(key):
                    await _end(tries)
                    failures = await self._refresher.refresh(key)
                else:
                    await self._report(key, failures)
                is_refused = any(
                    failure is not None and not is_away(failure) and not _is_turn(failure) for failure in failures
                )
                pause = min(pause * 2, LAST_PAUSE_REFUSED if is_refused else LAST_PAUSE)
        finally:
            await _end(tries)

    def _has_renewed(self, key: FetchKey) -> bool:
        """Whether somebody else has got a reply that is newer than what the volumes have."""
        volumes = [volume for path in self._stale.of(key) if (volume := self._volumes.get(path)) is not None]
        moments = [volume.refreshed_at for volume in volumes if volume.refreshed_at is not None]
        return bool(moments) and self._fetcher.has_renewed(key, min(moments))

    async def _report(self, key: FetchKey, failures: list[Failure | None]) -> None:
        """Say in the volumes what the store answers, if it does."""
        answer = next((failure for failure in failures if failure is not None and is_answer(failure)), None)
        if answer is not None:
            await self._refresher.report(key, answer)

    def _waiting(self, key: FetchKey) -> list[Waiting]:
        """The volumes that still wait; what is gone, or has fresh content, is dropped."""
        for path in self._stale.of(key):
            volume = self._volumes.get(path)
            if volume is None or not volume.stale:
                self._stale.remove(key, path)
        return list(self._stale.of(key).values())

    async def _try(self, key: FetchKey, request: PublishRequest) -> Failure | None:
        """One call; returns its failure."""
        volume = self._volumes.get(request.target.path)
        if volume is None:
            return Unavailable("the volume is gone")
        deadline = asyncio.get_running_loop().time() + TRY_SECONDS
        with redact.withholding(*secrets_of(request)):
            try:
                provider_class = await self._remote.find_class(Attempt(request, deadline), deadline)
                key_now = await self._fetcher.ask(request, volume, provider_class, key, deadline)
            except Exception as error:
                failure = rpc.as_failure(error, METHOD)
                log.verbose(1, "The provider is still away", secretProviderClass=key.class_ref, err=failure)
                return failure
        if key_now == key:
            return None
        await self._class_changed(key, key_now)
        return Unavailable("its class has changed")

    async def _class_changed(self, key: FetchKey, key_now: FetchKey | None) -> None:
        """Its volumes wait for the content of the class as it is, together; each for itself if its annotations, which
        allow more, are gone."""
        if key_now is not None:
            self._stale.move(key, key_now)
            return
        await self._refresher.refresh(key)
        for path in self._stale.of(key):
            volume = self._volumes.get(path)
            if volume is not None:
                volume.stale = False  # if that has failed, rotation is left


async def _end(tries: "set[asyncio.Task[Failure | None]]") -> None:
    """Cancel the calls that are in progress."""
    for task in tries:
        task.cancel()
    await asyncio.gather(*tries, return_exceptions=True)
    tries.clear()


def _is_expired(waiting: Waiting) -> bool:
    account = account_of(waiting.request)
    recent = clock.now() - waiting.received < TOKEN_SECONDS
    return account is not None and not recent and account.expires < time.time()


def _is_turn(failure: Failure) -> bool:
    """Whether a call had no turn: other volumes of the namespace wait for the store, too."""
    return isinstance(failure, ResourceExhausted) and not failure.error_type
