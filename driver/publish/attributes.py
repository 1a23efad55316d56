"""The attributes of a volume that a provider receives, merged so that nobody can forge the identity of a pod.

They are merged in this order, later ones override earlier ones: the pod's volumeAttributes, the parameters of the
class, kubelet's information about the pod, the service account tokens. With ``--volume-attributes-override`` the first
two are swapped, as in the Go driver. Class parameters with kubelet's prefix are dropped.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from driver.ports import ProviderClass
from driver.publish.request import CLASS_ATTRIBUTE, RESERVED_PREFIX, SERVICE_ACCOUNT_TOKENS, PublishRequest
from runtime import redact

# Mode 0644 as a decimal JSON number, the form that providers parse.
PERMISSION = "420"
# Go's encoder escapes these characters; a provider that compares strings must see no difference.
_GO_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


@dataclass(frozen=True)
class MountAttributes:
    """The JSON texts for a MountRequest, and the names of the class parameters that were dropped."""

    attributes: str = field(repr=False)
    secrets: str = field(repr=False)
    dropped: tuple[str, ...]


def merge(request: PublishRequest, provider_class: ProviderClass, *, pod_overrides: bool) -> MountAttributes:
    """Merge the attributes and encode them as the Go driver does: with sorted keys, and ``null`` for no secrets."""
    parameters = {k: v for k, v in provider_class.parameters.items() if not k.startswith(RESERVED_PREFIX)}
    layers = [request.attributes, parameters]
    merged: dict[str, str] = {}
    for layer in reversed(layers) if pod_overrides else layers:
        merged.update(layer)
    merged[CLASS_ATTRIBUTE] = request.class_ref.name
    merged.update({k: v for k, v in request.identity.items() if k != SERVICE_ACCOUNT_TOKENS})
    if tokens := tokens_of(request):
        merged[SERVICE_ACCOUNT_TOKENS] = tokens
    return MountAttributes(
        attributes=go_json(merged),
        secrets=go_json(request.secrets) if request.secrets else "null",
        dropped=tuple(sorted(set(provider_class.parameters) - set(parameters))),
    )


def tokens_of(request: PublishRequest) -> str:
    """The service account tokens as kubelet sent them, in the field ``secrets`` or in the volume context."""
    if SERVICE_ACCOUNT_TOKENS in request.secrets:
        return request.secrets[SERVICE_ACCOUNT_TOKENS]
    return request.identity.get(SERVICE_ACCOUNT_TOKENS, "")


def secrets_of(request: PublishRequest) -> list[str]:
    """What no text about the request may repeat."""
    attributes = (value for key, value in request.attributes.items() if redact.is_secret_name(key))
    return [*request.secrets.values(), tokens_of(request), *attributes]


def go_json(value: Mapping[str, str]) -> str:
    """Encode a JSON object of strings, byte for byte as Go's encoding/json does."""
    text = json.dumps(dict(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_GO_ESCAPES)
