"""Calls providers by name, with one connection to each. A provider that restarts, or moves to another socket, is
found again.

A call takes these steps:
 1. Find the socket: the first ``<directory>/<name>.sock`` on which a process listens, in the order of the directories.
 2. Wait until it is connected, at most until the deadline. The socket is looked for again every SEARCH_SECONDS.
 3. Call Mount with the time that is left. After UNAVAILABLE start again, for MAX_ATTEMPTS in all; other errors are
    final.
A provider that has never been seen on this node fails at once. One that was here and is gone is waited for, because it
is probably restarting.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, TypeVar

from driver import limits
from driver.providers import status, wire
from driver.providers.absences import Absences
from driver.providers.client import ProviderClient
from driver.providers.measuring import OnCalled, ReplyTooLarge
from driver.providers.reply_room import ReplyRoom
from driver.providers.sockets import ProviderSockets
from driver.volume.memory import MemoryBudget
from driver.volume.workers import DiskWorkers
from protos import provider_pb2
from runtime import logs, rpc
from runtime.errors import PreconditionFailed, Unavailable

log = logs.get(__name__)

T = TypeVar("T")

MAX_ATTEMPTS = 3
FIRST_RETRY_SECONDS = 1.0
SEARCH_SECONDS = 0.25
_SHOWN_PROVIDERS = 10
HEALTH_CHECK_SECONDS = 5.0
# How long a socket may take to answer that a provider is back.
ANSWER_SECONDS = 2.5


class NotInstalled(PreconditionFailed):
    """The provider has no socket on this node, and had none before."""


class ProviderPool:
    """The providers that this driver has called. ``on_called`` gets every call when it ends."""

    def __init__(
        self,
        sockets: ProviderSockets,
        workers: DiskWorkers,
        memory: MemoryBudget,
        max_reply_bytes: int,
        max_entries: int = limits.MAX_VOLUME_ENTRIES,
        on_called: OnCalled = lambda *_: None,
    ) -> None:
        self._on_called = on_called
        self._workers = workers
        self._sockets = sockets
        self._absences = Absences(sockets)
        self._room = ReplyRoom(memory, min(max_reply_bytes, limits.MAX_MESSAGE_BYTES))
        self._max_entries = max_entries
        self._clients: dict[str, ProviderClient] = {}

    async def mount(
        self,
        name: str,
        request: provider_pb2.MountRequest,
        deadline: float,
        *,
        readable_by_group: bool,
        subject: str,
        held: AsyncExitStack,
    ) -> wire.MountReply:
        """Call the provider's Mount by ``deadline`` (event loop time) and check its reply.

        The reply has its place in memory until ``held`` is closed. Of ``subject``, such as a class, it is remembered
        whether replies are large. Raises a Failure; that of the provider itself keeps its status code.
        """
        loop, attempt = asyncio.get_running_loop(), 1
        reason: rpc.RemoteFailure | None = None
        while True:
            client = await self._connected(name, deadline)
            large = self._room.is_large(subject)
            place = AsyncExitStack()
            try:
                async with place:
                    await place.enter_async_context(self._room.turn(large, deadline))
                    reply = await client.mount(request, deadline, large=large)
                    held.push_async_exit(place.pop_all())
            except ReplyTooLarge:
                self._room.note_large(subject)
                continue
            except rpc.RemoteFailure as failure:
                if reason is not None and failure.code == rpc.StatusCode.DEADLINE_EXCEEDED:
                    raise reason from None  # it says more than that the repetition was cut short
                reason = failure
                pause = FIRST_RETRY_SECONDS * random.uniform(0.8, 1.2)
                is_last = attempt == MAX_ATTEMPTS or loop.time() + pause >= deadline
                if failure.code != rpc.StatusCode.UNAVAILABLE or is_last:
                    raise
            else:
                check = partial(
                    wire.check_reply, reply, readable_by_group=readable_by_group, max_entries=self._max_entries
                )
                return await self._workers.run_long(check) if wire.is_long(reply) else check()
            await asyncio.sleep(pause)
            attempt += 1

    async def derive(self, function: Callable[[], T], size: int, held: AsyncExitStack) -> T:
        """Call ``function``, which makes up to ``size`` bytes of a reply's content, beside the event loop. Its result
        has its place in memory until ``held`` is closed. Raises ResourceExhausted if there is none."""
        self._room.reserve(size, held)
        return await self._workers.run_long(function)

    def is_connected(self, name: str) -> bool:
        """Whether a provider's socket is connected now."""
        client = self._clients.get(name)
        return client is not None and client.connected

    async def reachable(self, names: Collection[str]) -> dict[str, bool]:
        """Of each provider, whether its socket is connected or a process listens there; calls none of them."""
        away = [name for name in names if not self.is_connected(name)]
        served = await self._workers.run(self._sockets.served, away)
        return {name: name not in away or name in served for name in names}

    async def answers(self, name: str) -> bool:
        """Whether a provider's socket answers, found out by connecting to it; takes ANSWER_SECONDS at most."""
        client = self._client_of(name)
        return client is not None and await client.wait_ready(asyncio.get_running_loop().time() + ANSWER_SECONDS)

    async def check_health(self) -> None:
        """Check the health of each provider that was called before, one after the other."""
        for name in list(self._clients):
            client = self._client_of(name) or self._clients[name]
            await client.check_health(asyncio.get_running_loop().time() + HEALTH_CHECK_SECONDS)

    def snapshot(self) -> list[Mapping[str, Any]]:
        """The providers for the status socket: see ``status.snapshot``."""
        return status.snapshot(self._clients, self._sockets, self._absences)

    def close(self) -> None:
        """Close all connections."""
        while self._clients:
            _, client = self._clients.popitem()
            client.close()

    async def _connected(self, name: str, deadline: float) -> ProviderClient:
        loop = asyncio.get_running_loop()
        started = loop.time()
        with self._absences.waiting(name):
            while True:
                search_again = min(deadline, loop.time() + SEARCH_SECONDS)
                client = self._client_of(name)
                if client is not None:
                    if await client.wait_ready(search_again):
                        self._absences.connected(name)
                        return client
                elif name not in self._clients:
                    raise self._not_installed(name)
                else:
                    await asyncio.sleep(search_again - loop.time())
                self._absences.not_connected(name, loop.time() - started)
                if loop.time() >= deadline:
                    away = self._sockets.why_away(name)
                    raise Unavailable(f'error connecting to provider "{name}": {away}; is its pod running?')

    def _not_installed(self, name: str) -> NotInstalled:
        problems = "".join(f"; {problem}" for problem in self._sockets.problems(name))
        installed = ", ".join(self._sockets.installed()[:_SHOWN_PROVIDERS]) or "none"
        return NotInstalled(
            f'error connecting to provider "{name}": provider not found: provider "{name}" '
            f"(on this node there are: {installed}; correct spec.provider of the class, or install it and "
            f"check that its socket lies in {', '.join(self._sockets.directories)}{problems})"
        )

    def _client_of(self, name: str) -> ProviderClient | None:
        """The client at the provider's socket; None if there is no socket now."""
        known = self._clients.get(name)
        socket = self._sockets.find(name, lambda path: known is not None and known.is_connected_to(path))
        return self._client_at(name, socket) if socket is not None else None

    def _client_at(self, name: str, socket: str) -> ProviderClient:
        known = self._clients.get(name)
        if known is not None and known.socket == socket and not known.is_given_up:
            return known
        client = self._clients[name] = ProviderClient(
            name, socket, self._workers, self._room.small, self._room.largest, self._on_called
        )
        if others := self._sockets.others(name, socket):
            log.warning(
                "Two providers have the same name; the one whose directory is searched first is used",
                provider=name,
                socket=socket,
                unused=", ".join(others),
            )
        if len(self._clients) > limits.MAX_PROVIDERS:
            self._clients.pop(next(iter(self._clients))).retire()
        if known is not None:
            if known.socket == socket:
                log.warning("Provider does not answer; connecting to it again", provider=name, socket=socket)
            else:
                log.info("Provider has moved", provider=name, socket=socket, former=known.socket)
            known.retire()
        return client
