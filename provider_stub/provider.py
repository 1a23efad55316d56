"""The stub: secrets from a directory or generated, error orders, and the self-writing mode."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable

from protos import provider_pb2
from provider_kit import File, InvalidRequest, MountReply, MountRequest, NotFound, Provider, ReplyError, Versions
from provider_kit.fields import seconds
from provider_stub import objects, orders, selfwrite
from provider_stub.generated import Generator
from provider_stub.objects import SecretObject
from provider_stub.store import Directory

CRASH_EXIT_CODE = 70
MAX_VOLUMES = 10_000


def crash_process() -> None:
    """Exit at once, without clean-up: the socket's file stays behind."""
    os._exit(CRASH_EXIT_CODE)


class StubProvider(Provider):
    """Serves the secrets of ``store``; without a store, generated secrets only.

    ``crash`` and ``now`` may be replaced by those who run the stub inside their own process.
    """

    name = "secrets-store-provider-stub"

    def __init__(
        self,
        store: Directory | None,
        versions: Versions,
        *,
        allow_error_orders: bool = False,
        crash: Callable[[], None] = crash_process,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._versions = versions
        self._generator = Generator(versions, now)
        self._allow_error_orders = allow_error_orders
        self._crash = crash
        self._calls: Counter[str] = Counter()
        self._writing: dict[str, asyncio.Lock] = {}

    async def mount(self, request: MountRequest) -> MountReply | provider_pb2.MountResponse:
        """Obey the error orders first, then fetch the objects."""
        ordered = orders.parse(request.attributes, self._allow_error_orders)
        await self._obey(ordered, request.target_path)
        if ordered.reply:
            return orders.MALFORMED[ordered.reply]()
        period = request.attributes.get("rotationPeriod", "")
        wanted = objects.parse(request.require("objects"), seconds("rotationPeriod", period) if period else 0.0)
        reply = await asyncio.to_thread(self._fetch, wanted, request)
        return await self._write(reply, request) if _self_writing(request) else reply

    async def _obey(self, ordered: orders.Orders, target: str) -> None:
        if ordered.failures is not None and len(self._calls) > MAX_VOLUMES:
            self._calls.clear()
        if ordered.failures is not None:
            self._calls[target] += 1
        if ordered.delay:
            await asyncio.sleep(ordered.delay)
        if ordered.crash:
            self._crash()
            await asyncio.Event().wait()  # a crash() given by the caller returns, and cancels this call
        failure = ordered.error_for(self._calls[target] if ordered.failures is not None else 1)
        if failure is not None:
            raise failure
        if ordered.error_code:
            raise ReplyError(ordered.error_code)

    def _fetch(self, wanted: list[SecretObject], request: MountRequest) -> MountReply:
        files, versions = [], {}
        for item in wanted:
            contents = self._contents(item, request)
            files.append(File(item.path, item.decode(contents), item.mode))
            versions[item.name] = item.version or self._versions.of(item.source, contents)
        return MountReply(files, versions)

    def _contents(self, item: SecretObject, request: MountRequest) -> bytes:
        if item.generate:
            return self._generator.contents(item, request)
        if self._store is None:
            raise NotFound(
                f"secret {item.name!r} not found: this provider runs without --secrets-dir and only generates secrets"
            )
        return self._store.read(item.source, item.version)

    async def _write(self, reply: MountReply, request: MountRequest) -> MountReply:
        if len(self._writing) > MAX_VOLUMES:
            self._writing = {target: lock for target, lock in self._writing.items() if lock.locked()}
        async with self._writing.setdefault(request.target_path, asyncio.Lock()):
            await asyncio.to_thread(selfwrite.write, request.target_path, reply.files, request.permission)
        return MountReply([], reply.versions)


def _self_writing(request: MountRequest) -> bool:
    value = request.attributes.get("selfWrite", "false")
    if value not in ("true", "false"):
        raise InvalidRequest('selfWrite must be "true" or "false", quoted in YAML')
    return value == "true"
