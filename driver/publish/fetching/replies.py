"""Which reply of a provider a volume gets: that of a call of its own, that of another pod's call, or one that is held.

1. Without an annotation, or without tokens that say whose account it is: a call of its own.
2. A reply is held, and within ``share-fetch`` it was asked for: that one. So is one that a volume with old content is
   waiting for, when ``renewals`` has got it.
3. A new pod, and a reply is held that is within ``last-known-good``: the provider is asked, but only for a few seconds,
   and not at all while ``renewals`` is asking it. If it is away, the held one is served.
4. Otherwise a call, which pods of the same key share if the class says so. Its reply is held.
5. If the provider or its store *answers* with a refusal, all that is held for this account and class is forgotten.

A mounted volume never gets content that is older than its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import NamedTuple

from driver import limits
from driver.metrics.fetches import FetchMetrics
from driver.ports import ProviderClass
from driver.providers.pool import NotInstalled
from driver.providers.wire import MountReply, ProviderFailure, withhold_contents
from driver.publish.fetching.flights import Flights
from driver.publish.fetching.held import HeldReplies, HeldReply
from driver.publish.fetching.key import FetchKey, version_of
from driver.publish.fetching.settings import FetchSettings
from driver.publish.fetching.stale import StaleVolumes
from driver.registry import Volume
from runtime import clock, rpc
from runtime.errors import DeadlineExceeded, Failure, Unavailable

# How long a new pod waits for a provider, or its store, that may be away; a store that is slower by nature gets
# twice as long as its last reply took.
PATIENCE_SECONDS, LONGEST_PATIENCE_SECONDS = 3.0, 30.0
# How long after ``renewals`` got a reply the waiting volumes may take it.
RENEWED_SECONDS = 60.0
_AWAY = ("UNAVAILABLE", "DEADLINE_EXCEEDED")


class Fetched(NamedTuple):
    """A reply, and the moment at which it was asked for if that was earlier than just now. If it is served because the
    provider is away, ``stale`` says why, ``key`` is its key, and ``decided`` the moment at which that was found."""

    reply: MountReply
    at: float | None = None
    stale: Failure | None = None
    key: FetchKey | None = None
    decided: float = 0.0


class Wanted(NamedTuple):
    """What is wanted for a volume: ``key`` is None if its reply must not be shared, ``call`` asks the provider."""

    volume: Volume
    provider_class: ProviderClass
    settings: FetchSettings
    key: FetchKey | None
    call: Callable[..., Awaitable[MountReply]]
    on_not_held: Callable[[str], Awaitable[None]]


class Replies:
    """Decides as the module says."""

    def __init__(self, held: HeldReplies, stale: StaleVolumes, metrics: FetchMetrics) -> None:
        self._held = held
        self._stale = stale
        self._metrics = metrics
        self._flights = Flights()
        self._written_by_provider: dict[FetchKey, None] = {}

    async def get(self, wanted: Wanted, deadline: float, place: AsyncExitStack) -> Fetched:
        """A reply, by ``deadline`` (event loop time), with its place in memory until ``place`` is closed. Raises a
        Failure."""
        key = wanted.key
        if key is None:
            return Fetched(await wanted.call(deadline, held=place))
        if key in self._written_by_provider:
            return Fetched(await self._call(wanted, deadline, clock.now(), place))
        held = self._held.get(key)
        if held is not None and self._may_share(wanted, held):
            self._metrics.shared(wanted.provider_class.provider)
            return _of(held)
        known_good = self._known_good(wanted)
        if known_good is None:
            return await self._ask(wanted, key, deadline, place)
        withhold_contents(known_good.reply)  # which the failure may quote that is the reason to serve it
        if key in self._stale.away:
            return self._serve(wanted, self._stale.away[key])
        patience = min(max(PATIENCE_SECONDS, 2 * known_good.took), LONGEST_PATIENCE_SECONDS)
        try:
            limit = min(deadline, asyncio.get_running_loop().time() + patience)
            return await self._ask(wanted, key, limit, place, again=False)
        except Failure as failure:
            # Meanwhile what is held may have been forgotten, and another pod may have found the provider away while
            # this one had no turn to ask it.
            away = is_away(failure) or (key in self._stale.away and not is_answer(failure))
            if not away or self._known_good(wanted) is None:
                raise
            if rpc.code_of(failure).name == "DEADLINE_EXCEEDED":  # a deadline of ours, of which its text says nothing
                provider = wanted.provider_class.provider
                failure = DeadlineExceeded(f'provider "{provider}" has not replied within {patience:.0f} s')
            return self._serve(wanted, failure)

    async def ask(self, wanted: Wanted, deadline: float) -> None:
        """Ask the provider for nobody in particular, and hold its reply. Raises a Failure."""
        held = self._held.get(wanted.key) if wanted.key is not None else None
        if held is not None:
            withhold_contents(held.reply)
        async with AsyncExitStack() as place:
            await self._call(wanted, deadline, clock.now(), place)

    def has_renewed(self, key: FetchKey, since: float) -> bool:
        """Whether a reply is held for which waiting volumes need not ask: it was asked for after ``since``."""
        held = self._held.get(key)
        return held is not None and held.age <= RENEWED_SECONDS and held.fetched_at > since

    def _may_share(self, wanted: Wanted, held: HeldReply) -> bool:
        longest = max(wanted.settings.share, RENEWED_SECONDS if wanted.volume.stale else 0.0)
        return held.age <= longest and held.fetched_at > _last(wanted.volume) and bool(held.reply.payload)

    def _known_good(self, wanted: Wanted) -> HeldReply | None:
        """What a new pod may get if the provider is away."""
        held = self._held.get(wanted.key) if wanted.key is not None else None
        if held is None or wanted.volume.recorded is not False or not held.reply.payload:
            return None
        return held if held.age <= wanted.settings.last_known_good else None

    def _serve(self, wanted: Wanted, failure: Failure) -> Fetched:
        held = self._known_good(wanted)
        if held is None:
            raise Unavailable(str(failure), failure.error_type)
        self._metrics.served_last_known_good(wanted.provider_class.provider)
        withhold_contents(held.reply)
        return Fetched(held.reply, held.fetched_at, failure, held.key, clock.now())

    async def _ask(
        self, wanted: Wanted, key: FetchKey, deadline: float, place: AsyncExitStack, again: bool = True
    ) -> Fetched:
        if not wanted.settings.share:
            return Fetched(await self._call(wanted, deadline, clock.now(), place))

        call = partial(self._call, wanted)
        # Not one that began too long ago, or before a refusal.
        newer_than = max(_last(wanted.volume), clock.now() - wanted.settings.share, self._held.refused_at(key))
        reply, flight, joined = await self._flights.join(key, call, deadline, place, newer_than, again)
        if not joined:
            return Fetched(reply)
        if not reply.payload:  # the provider has written to the other pod's volume
            return Fetched(await self._call(wanted, deadline, clock.now(), place))
        self._metrics.shared(wanted.provider_class.provider)
        withhold_contents(reply)
        return Fetched(reply, flight.began)

    async def _call(self, wanted: Wanted, deadline: float, began: float, place: AsyncExitStack) -> MountReply:
        """A call to the provider that begins now; what it says decides about what is held."""
        key = wanted.key
        assert key is not None
        try:
            reply = await wanted.call(deadline, held=place)
        except Failure as failure:
            if is_answer(failure):
                self._stale.answered(key)
            if is_refusal(failure):
                self._held.forget(key.class_ref, key.account)
            raise
        self._stale.answered(key)
        if why_not := self._hold(wanted, key, reply, began):
            await wanted.on_not_held(why_not)
        return reply

    def _hold(self, wanted: Wanted, key: FetchKey, reply: MountReply, began: float) -> str:
        """Hold a reply; returns why that is not possible, empty if it is."""
        if not reply.payload:
            self._written_by_provider[key] = None
            if len(self._written_by_provider) > limits.MAX_HELD_REPLIES:
                del self._written_by_provider[next(iter(self._written_by_provider))]
            return "the provider writes the files to the volume itself, or there are none"
        self._written_by_provider.pop(key, None)
        took = clock.now() - began
        return self._held.put(
            HeldReply(key, version_of(wanted.provider_class), reply, began, took, wanted.settings.keep)
        )


def is_away(failure: Failure) -> bool:
    """Whether the provider, or the store behind it, did not answer; any other failure is an answer, or our own."""
    return isinstance(failure, NotInstalled) or rpc.code_of(failure).name in _AWAY


def is_answer(failure: Failure) -> bool:
    """Whether the provider, or the store behind it, has answered, if only that one should try again."""
    return isinstance(failure, ProviderFailure) or (isinstance(failure, rpc.RemoteFailure) and not is_away(failure))


def is_refusal(failure: Failure) -> bool:
    """Whether the answer is final."""
    return is_answer(failure) and not (isinstance(failure, rpc.RemoteFailure) and failure.code in rpc.NON_FINAL_CODES)


def _last(volume: Volume) -> float:
    return float("-inf") if volume.refreshed_at is None else volume.refreshed_at


def _of(held: HeldReply) -> Fetched:
    withhold_contents(held.reply)
    return Fetched(held.reply, held.fetched_at)
