"""Calls a provider as the driver does, and worse. Messages go out as bytes, so that they may be malformed."""

import asyncio
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from protos import provider_pb2
from provider_conformance.answers import Answer, File, KnownSecrets, written
from provider_conformance.settings import Settings

_SERVICE = provider_pb2.DESCRIPTOR.services_by_name["CSIDriverProvider"].full_name
_POD_PREFIX = "csi.storage.k8s.io/"
_EXPIRES = "2030-01-01T00:00:00Z"
AUTHORITY = "localhost"
PERMISSION = 0o644


class Client:
    """A channel to the provider's socket; every call has the deadline of the settings, unless it says another."""

    def __init__(self, socket: Path, settings: Settings, targets: Path, known: KnownSecrets | None = None) -> None:
        self.socket, self.settings, self.targets = socket, settings, targets
        # One of each kind, even if the provider needs none: neither may turn up in an error.
        self.canaries = {kind: f"canary-{kind}-{secrets.token_hex(8)}" for kind in ("secret", "token")}
        self.known = known or KnownSecrets([*settings.secrets.values(), *settings.tokens.values()])
        for value in self.canaries.values():
            self.known.add(value.encode())
        self._channel = self._dial(AUTHORITY)

    def _dial(self, authority: str | None) -> grpc.aio.Channel:
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 500),
        ]
        if authority is not None:
            options.append(("grpc.default_authority", authority))
        return grpc.aio.insecure_channel(f"unix:{self.socket}", options=options)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def reconnect(self) -> None:
        """Connect to whoever serves the socket now; a channel keeps its connection, wherever the path leads to."""
        await self._channel.close()
        self._channel = self._dial(AUTHORITY)

    def request(
        self, parameters: Mapping[str, str] | None = None, pod: str = "", permission: int = PERMISSION
    ) -> provider_pb2.MountRequest:
        """The driver's request for one volume of a class with these parameters, by default the good one. ``pod`` is
        appended to the pod's name and UID, where volumes of several pods are needed."""
        settings = self.settings
        uid = settings.pod.get("uid", "c0f0a3ce-0000-4000-8000-000000000001") + pod
        tokens = {**settings.tokens, "conformance.example": self.canaries["token"]}
        attributes = {
            **(settings.good if parameters is None else parameters),
            "secretProviderClass": "conformance",
            _POD_PREFIX + "pod.namespace": settings.pod.get("namespace", "default"),
            _POD_PREFIX + "pod.name": settings.pod.get("name", "conformance") + pod,
            _POD_PREFIX + "pod.uid": uid,
            _POD_PREFIX + "serviceAccount.name": settings.pod.get("serviceAccount", "default"),
            _POD_PREFIX + "serviceAccount.tokens": json.dumps(
                {name: {"token": token, "expirationTimestamp": _EXPIRES} for name, token in tokens.items()}
            ),
        }
        target = self.targets / "pods" / uid / "volumes/kubernetes.io~csi/secrets/mount"
        target.mkdir(parents=True, exist_ok=True)
        return provider_pb2.MountRequest(
            attributes=json.dumps(attributes),
            secrets=json.dumps({**settings.secrets, "conformance-canary": self.canaries["secret"]}),
            target_path=str(target),
            permission=str(permission),
        )

    async def mount(
        self, message: provider_pb2.MountRequest, extra: bytes = b"", seconds: float | None = None
    ) -> Answer:
        """One call; ``extra`` is appended to the encoded message."""
        return await self._mount(self._channel, message.SerializeToString() + extra, message.target_path, seconds)

    async def mount_as(self, authority: str | None, message: provider_pb2.MountRequest) -> Answer:
        """One call with another ``:authority``; None is gRPC's default, the escaped path of the socket."""
        channel = self._dial(authority)
        try:
            return await self._mount(channel, message.SerializeToString(), message.target_path, None)
        finally:
            await channel.close()

    async def version(self) -> provider_pb2.VersionResponse | str:
        """The reply, or how the call failed."""
        message = provider_pb2.VersionRequest(version="v1alpha1").SerializeToString()
        try:
            data = await _method(self._channel, "Version")(message, timeout=self.settings.seconds)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name} ({self.known.mask(error.details() or '', error.code())[:200]})"
        try:
            return provider_pb2.VersionResponse.FromString(data)
        except DecodeError:
            return "something that is not a VersionResponse"

    async def wait_connected(self) -> bool:
        """Whether somebody listens, within the deadline of a call."""
        try:
            await asyncio.wait_for(self._channel.channel_ready(), self.settings.seconds)
        except TimeoutError:
            return False
        return True

    async def _mount(self, channel: grpc.aio.Channel, data: bytes, target: str, seconds: float | None) -> Answer:
        try:
            answered = await _method(channel, "Mount")(data, timeout=seconds or self.settings.seconds)
        except grpc.aio.AioRpcError as error:
            return Answer(error.code(), self.known.mask(error.details() or "", error.code()))
        try:
            reply = provider_pb2.MountResponse.FromString(answered)
        except DecodeError:
            return Answer(grpc.StatusCode.DATA_LOSS, "the reply is not a MountResponse")
        answer = Answer(
            code=grpc.StatusCode.OK,
            text=self.known.mask(reply.error.code, grpc.StatusCode.OK),
            size=len(answered),
            reply=reply,
            files=[File(item.path, item.mode, item.contents) for item in reply.files]
            or (written(target) if target else []),
        )
        for file in answer.files:
            self.known.add(file.contents)
        return answer


def _method(channel: grpc.aio.Channel, name: str) -> "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]":
    return channel.unary_unary(f"/{_SERVICE}/{name}")
