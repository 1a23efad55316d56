"""What a provider is told of a volume: three layers and a token, merged so that nobody can forge a pod's identity.

Later wins: the pod author's volumeAttributes, the class's parameters, what kubelet says of the pod, the service
account tokens. With ``--volume-attributes-override`` the first two change places, as in the Go driver. A class
parameter with kubelet's prefix is dropped.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from driver.ports import ProviderClass
from driver.publish.request import CLASS_ATTRIBUTE, RESERVED_PREFIX, SERVICE_ACCOUNT_TOKENS, PublishRequest

# 0644 as the decimal JSON number that providers parse.
PERMISSION = "420"
# Go's encoder writes these three so; a provider that compares strings sees what it always saw.
_GO_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


@dataclass(frozen=True)
class MountAttributes:
    """The JSON texts of a MountRequest, and the class parameters that were dropped."""

    attributes: str = field(repr=False)
    secrets: str = field(repr=False)
    dropped: tuple[str, ...]


def merge(request: PublishRequest, provider_class: ProviderClass, *, pod_overrides: bool) -> MountAttributes:
    """Merge the layers and encode them as the Go driver does: sorted keys, ``null`` for no secrets."""
    parameters = {k: v for k, v in provider_class.parameters.items() if not k.startswith(RESERVED_PREFIX)}
    layers = [request.attributes, parameters]
    merged: dict[str, str] = {}
    for layer in reversed(layers) if pod_overrides else layers:
        merged.update(layer)
    merged[CLASS_ATTRIBUTE] = request.class_ref.name
    merged.update({k: v for k, v in request.identity.items() if k != SERVICE_ACCOUNT_TOKENS})
    if request.tokens:
        merged[SERVICE_ACCOUNT_TOKENS] = request.tokens
    return MountAttributes(
        attributes=go_json(merged),
        secrets=go_json(request.secrets) if request.secrets else "null",
        dropped=tuple(sorted(set(provider_class.parameters) - set(parameters))),
    )


def go_json(value: Mapping[str, str]) -> str:
    """A JSON object of strings, byte for byte as Go's encoding/json writes it."""
    text = json.dumps(dict(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.translate(_GO_ESCAPES)
