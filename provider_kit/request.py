"""What a provider is asked: the Mount request of ``protos/provider.proto`` as typed, checked values.

No ``repr`` here shows a secret: a request carries the pod's service account tokens and the node publish secret.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from protos import provider_pb2
from runtime.errors import InvalidRequest

POD_PREFIX = "csi.storage.k8s.io/"
TOKENS_ATTRIBUTE = POD_PREFIX + "serviceAccount.tokens"
_EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Token:
    """A service account token for one audience; ``expires`` is kubelet's timestamp (RFC 3339), empty if absent."""

    value: str = field(repr=False)
    expires: str


@dataclass(frozen=True)
class Pod:
    """The pod that mounts the volume, as reported by kubelet; a field that kubelet did not send is empty."""

    namespace: str
    name: str
    uid: str
    service_account: str


@dataclass(frozen=True)
class MountRequest:
    """A request for the contents of one volume.

    ``attributes`` are the class's parameters together with the pod's identity, ``secrets`` the node publish secret
    (empty without one), ``permission`` the mode for files without a mode of their own, and ``current_versions`` the
    object versions that the volume holds, which only Go drivers before v1.6.0 send. ``deadline`` is when the caller
    gives up, by ``time.monotonic``, as for ``asyncio.timeout_at``; infinite if it does not say so.
    """

    attributes: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    target_path: str
    permission: int
    current_versions: Mapping[str, str]
    deadline: float = math.inf

    @property
    def pod(self) -> Pod:
        """The pod that the secrets are for; use it to decide who may read what."""

        def value(key: str) -> str:
            return self.attributes.get(POD_PREFIX + key, "")

        return Pod(value("pod.namespace"), value("pod.name"), value("pod.uid"), value("serviceAccount.name"))

    @property
    def tokens(self) -> Mapping[str, Token]:
        """The pod's service account tokens by audience; empty if the CSIDriver object requests none."""
        text = self.attributes.get(TOKENS_ATTRIBUTE, "")
        if not text:
            return {}
        tokens = _json_object(text, "the service account tokens")
        if not all(isinstance(item, dict) and isinstance(item.get("token"), str) for item in tokens.values()):
            raise InvalidRequest("the service account tokens must be a JSON object that maps an audience to a token")
        return {
            audience: Token(item["token"], str(item.get("expirationTimestamp", "")))
            for audience, item in tokens.items()
        }

    def token(self, audience: str) -> str:
        """The pod's token for ``audience``; InvalidRequest, which says how to request one, if there is none."""
        token = self.tokens.get(audience)
        if token is None:
            raise InvalidRequest(
                f"no service account token for audience {audience!r}: add it to tokenRequests of the CSIDriver object"
            )
        return token.value

    def require(self, parameter: str) -> str:
        """The value of a class parameter; InvalidRequest if it is missing or empty."""
        value = self.attributes.get(parameter, "")
        if not value:
            raise InvalidRequest(
                f"the parameter {parameter} is missing: set it in spec.parameters of the SecretProviderClass"
            )
        return value


def decode_request(message: provider_pb2.MountRequest, deadline: float = math.inf) -> MountRequest:
    """Check and convert a message from the wire; InvalidRequest names the field that is wrong.

    The driver sends attributes and secrets as JSON objects of strings, ``null`` in place of absent secrets, and the
    permission as a JSON number.
    """
    if not message.target_path:
        raise InvalidRequest("target_path is missing from the request")
    return MountRequest(
        attributes=_strings(message.attributes, "attributes"),
        secrets=_EMPTY if message.secrets.strip() == "null" else _strings(message.secrets, "secrets"),
        target_path=message.target_path,
        permission=_permission(message.permission),
        current_versions={item.id: item.version for item in message.current_object_version},
        deadline=deadline,
    )


def _strings(text: str, what: str) -> Mapping[str, str]:
    values = _json_object(text, what)
    if not all(isinstance(value, str) for value in values.values()):
        raise InvalidRequest(f"{what} must be a JSON object of strings")
    return MappingProxyType(values)


def _json_object(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:  # whose text quotes the content
        raise InvalidRequest(f"{what} is not valid JSON: it must be a JSON object") from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"{what} must be a JSON object")
    return value


def _permission(text: str) -> int:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 0o7777:
        raise InvalidRequest("permission must be a JSON number, such as 420 for mode 0644")
    return value
