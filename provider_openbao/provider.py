"""One Mount: who asks, where, with which token; then each call once, and a file for each object."""

import asyncio
from typing import Any

from provider_kit import (
    File,
    MountReply,
    MountRequest,
    PermissionDenied,
    Provider,
    ResourceExhausted,
    Unavailable,
    Versions,
    get_log,
    withhold,
)
from provider_openbao import objects, reading
from provider_openbao.client import Client, TooLarge
from provider_openbao.identity import identify
from provider_openbao.leases import Leases
from provider_openbao.login import Logins, Token
from provider_openbao.objects import WantedObject
from provider_openbao.revoking import Revocations
from provider_openbao.settings import Auth, Defaults, auth_of, server_of
from provider_openbao.unpublished import TargetPaths, Volume

log = get_log(__name__)

MOUNT_SECONDS = 45.0
"""Of the two minutes that kubelet waits; a mount that fails with UNAVAILABLE is repeated by the driver."""
UPKEEP_SECONDS = 10.0
"""Between two looks for what is to be revoked."""


class OpenBaoProvider(Provider):
    """``max_bytes`` is the size of a volume; ``timeout`` that of one call of the API, in seconds."""

    name = "secrets-store-provider-openbao"

    def __init__(self, defaults: Defaults, versions: Versions, *, timeout: float, max_bytes: int) -> None:
        self._defaults = defaults
        self._versions = versions
        self._max_bytes = max_bytes
        # Content is longer in a response: escapes, base64.
        self._client = Client(timeout, 3 * max_bytes)
        self._logins = Logins(self._client)
        self._revocations = Revocations(self._client)
        self._leases = Leases(self._client, self._revocations)
        self._target_paths = TargetPaths()
        self._upkeep: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        await self._logins.close()
        await self._client.close()

    async def mount(self, request: MountRequest) -> MountReply:
        wanted = objects.parse(request.require("objects"))
        server, auth = server_of(request, self._defaults), auth_of(request, self._defaults)
        identity, jwt = identify(request, server, auth)
        volume = (identity, request.pod.uid, request.target_path)
        with self._target_paths.in_use(volume):
            try:
                async with asyncio.timeout(MOUNT_SECONDS):
                    reply = await _Fetch(self, volume, auth, jwt).reply(wanted)
            except TimeoutError:
                raise Unavailable(
                    f"{server.address} took more than {MOUNT_SECONDS:g} s for all objects together"
                ) from None
            # Not after a failure: until kubelet's next attempt, which gets the same secrets, there is no target path.
            if volume in self._leases.volumes:
                await self._target_paths.look(volume)
                self._upkeep = self._upkeep or asyncio.create_task(self._keep_up())
        return reply

    async def _keep_up(self) -> None:
        """Revoke what is no longer needed, for as long as the provider runs."""
        while True:
            await asyncio.sleep(UPKEEP_SECONDS)
            try:
                for volume in await self._target_paths.take_gone():
                    self._leases.release(volume)
                self._leases.forget_ended()
                self._target_paths.keep_only(self._leases.volumes)
                await self._revocations.run_due()
            except Exception as error:
                log.error("Revoking failed, and will be tried again", exc=error)


class _Fetch:
    """The work of one call of ``mount``."""

    def __init__(self, provider: OpenBaoProvider, volume: Volume, auth: Auth, jwt: str) -> None:
        self._client, self._logins, self._leases = provider._client, provider._logins, provider._leases
        self._versions, self._max_bytes = provider._versions, provider._max_bytes
        self._volume, self._identity = volume, volume[0]
        self._auth, self._jwt = auth, jwt

    async def reply(self, wanted: list[WantedObject]) -> MountReply:
        token = await self._logins.token(self._identity, self._auth, self._jwt)
        files, versions, size = [], {}, 0
        responses: dict[objects.Call, dict[str, Any]] = {}
        for item in wanted:
            if item.call not in responses:
                responses[item.call], token = await self._response(item, token)
                withhold(*reading.strings(responses[item.call]))
            contents = reading.value(item, responses[item.call])
            size += len(contents)
            if size > self._max_bytes:
                raise ResourceExhausted(
                    f"{item.place} makes the volume larger than {self._max_bytes} bytes: remove objects or set "
                    "secretKey "
                    "(the limits are the provider's --max-reply-bytes and the driver's --max-call-recv-msg-size)"
                )
            files.append(File(item.name, contents, item.mode))
            versions[item.name] = self._versions.of(item.name, contents)
        self._leases.keep_only(self._volume, set(responses))
        return MountReply(files, versions)

    async def _response(self, item: WantedObject, token: Token) -> tuple[dict[str, Any], Token]:
        kept = await self._leases.find(self._volume, item.call, token)
        if kept is not None:
            return kept, token
        answer = await self._ask(item, token)
        # A token that the server has revoked, or forgotten in a restart, is refused in the same way as a missing right.
        if answer.status == 403 and not await self._logins.is_valid(self._identity, token):
            if self._auth.method == "token":
                raise PermissionDenied(
                    f"{self._identity.server.address} does not accept the token in the Secret that "
                    "nodePublishSecretRef names (HTTP 403): write a valid one"
                )
            token = await self._logins.token(self._identity, self._auth, self._jwt, refused=token)
            answer = await self._ask(item, token)
        if not answer.ok:
            raise reading.refusal(item, answer, await self._mount_of(item, token), self._who())
        self._leases.add(self._volume, item.call, token, answer.data)
        return answer.data, token

    async def _ask(self, item: WantedObject, token: Token) -> Any:
        call = item.call
        try:
            return await self._client.call(
                self._identity.server, call.method, call.path, token=token.value, query=call.query, body=call.body
            )
        except TooLarge as failure:
            raise ResourceExhausted(f"{item.place}: {failure}") from None

    async def _mount_of(self, item: WantedObject, token: Token) -> dict[str, Any]:
        """What the token may know of the secrets engine at the path: its type, version and mount."""
        path = f"sys/internal/ui/mounts/{item.call.path}"
        answer = await self._client.call(self._identity.server, "GET", path, token=token.value)
        data = answer.data.get("data") if answer.ok else None
        return data if isinstance(data, dict) else {}

    def _who(self) -> str:
        return f"role {self._auth.role!r}" if self._auth.role else f"the {self._auth.method} login"
