"""The provider contract in our own types: what the driver asks, what a provider answers, and the class to subclass.

The shapes are those of ``protos/provider.proto``. Nothing here shows a secret in its repr: requests carry the pod's
tokens, replies the store's content.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from protos import provider_pb2
from runtime.errors import Failure, InvalidRequest
from runtime.version import build

API_VERSION = "v1alpha1"
POD_PREFIX = "csi.storage.k8s.io/"
TOKENS = POD_PREFIX + "serviceAccount.tokens"
_EMPTY: Mapping[str, str] = MappingProxyType({})


class ReplyError(Failure):
    """Refuse by the reply's own ``Error.code`` in place of a gRPC status; the driver shows the code and drops
    the sentence.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"refused with error code {code}")
        self.code = code


@dataclass(frozen=True)
class Token:
    """A service account token for one audience; ``expires`` as kubelet wrote it (RFC 3339)."""

    value: str = field(repr=False)
    expires: str


@dataclass(frozen=True)
class Pod:
    """The pod that the volume belongs to, as kubelet (``podInfoOnMount``) told the driver; empty where it did not."""

    namespace: str
    name: str
    uid: str
    service_account: str


@dataclass(frozen=True)
class MountRequest:
    """What one volume asks for. ``attributes`` are the class's parameters with the pod's identity; ``secrets``
    the node publish secret.
    """

    attributes: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    target_path: str
    permission: int
    current_versions: Mapping[str, str]

    @property
    def pod(self) -> Pod:
        """Whom the secrets are for."""

        def told(key: str) -> str:
            return self.attributes.get(POD_PREFIX + key, "")

        return Pod(told("pod.namespace"), told("pod.name"), told("pod.uid"), told("serviceAccount.name"))

    @property
    def tokens(self) -> Mapping[str, Token]:
        """The pod's service account tokens by audience; empty if the CSIDriver object asks for none."""
        text = self.attributes.get(TOKENS, "")
        if not text:
            return {}
        found = _object(text, "the service account tokens")
        if not all(isinstance(item, dict) and isinstance(item.get("token"), str) for item in found.values()):
            raise InvalidRequest(
                "the service account tokens, as kubelet makes them, must be an object of audience to token"
            )
        return {
            audience: Token(item["token"], str(item.get("expirationTimestamp", ""))) for audience, item in found.items()
        }

    def token(self, audience: str) -> str:
        """The token for ``audience``, or a failure that says where to ask for it."""
        found = self.tokens.get(audience)
        if found is None:
            raise InvalidRequest(
                f"no service account token for audience {audience!r}: add it to tokenRequests of the CSIDriver object"
            )
        return found.value

    def require(self, parameter: str) -> str:
        """A class parameter that must be there and not empty."""
        value = self.attributes.get(parameter, "")
        if not value:
            raise InvalidRequest(
                f"the parameter {parameter} is missing: set it in spec.parameters of the SecretProviderClass"
            )
        return value


@dataclass(frozen=True)
class File:
    """One file of the volume. ``path`` is relative and clean; ``mode`` None is the permission that the driver
    asks for.
    """

    path: str
    contents: bytes = field(repr=False)
    mode: int | None = None


@dataclass(frozen=True)
class MountReply:
    """``versions`` maps object id to version and must not be empty; no ``files`` means that the provider wrote
    them into the target itself.
    """

    files: Sequence[File]
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        if not self.versions:
            raise ValueError("a reply without object versions: the driver refuses it")
        paths = [item.path for item in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("a reply with two files of one path: the driver refuses it")


class Provider:
    """Subclass this: give it a name and a ``mount``. Raise a ``runtime.errors.Failure`` to refuse; its sentence
    reaches the pod's events.
    """

    name = "provider"
    version = build().version

    async def mount(self, request: MountRequest) -> "MountReply | provider_pb2.MountResponse":
        """Fetch what one volume asks for. Called again at each rotation. A raw message is sent as it is, unchecked.

        Runs on the event loop: give blocking clients to ``asyncio.to_thread``.
        """
        raise NotImplementedError


def read_request(message: provider_pb2.MountRequest) -> MountRequest:
    """Check and convert; the driver sends JSON strings, ``null`` for absent secrets and the permission as a JSON
    number.
    """
    if not message.target_path:
        raise InvalidRequest("target_path is missing from the request")
    return MountRequest(
        attributes=_strings(message.attributes, "attributes"),
        secrets=_strings(message.secrets, "secrets", null_allowed=True),
        target_path=message.target_path,
        permission=_permission(message.permission),
        current_versions={item.id: item.version for item in message.current_object_version},
    )


def write_reply(reply: MountReply, permission: int) -> provider_pb2.MountResponse:
    """As it goes over the wire."""
    files = [
        provider_pb2.File(path=item.path, mode=permission if item.mode is None else item.mode, contents=item.contents)
        for item in reply.files
    ]
    versions = [provider_pb2.ObjectVersion(id=key, version=value) for key, value in reply.versions.items()]
    return provider_pb2.MountResponse(object_version=versions, files=files)


def _strings(text: str, what: str, null_allowed: bool = False) -> Mapping[str, str]:
    if null_allowed and text.strip() == "null":
        return _EMPTY
    found = _object(text, what)
    if not all(isinstance(value, str) for value in found.values()):
        raise InvalidRequest(f"{what} must be a JSON object of strings")
    return MappingProxyType(found)


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:  # its text would quote the content
        raise InvalidRequest(f"{what} must be a JSON object and are no JSON") from None
    if not isinstance(found, dict):
        raise InvalidRequest(f"{what} must be a JSON object")
    return found


def _permission(text: str) -> int:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= 0o7777:
        raise InvalidRequest("permission must be a JSON number, such as 420 for mode 0644")
    return found
