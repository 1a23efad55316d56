"""Service account tokens as kubelet sends them, with the claims that the driver reads; nobody has signed them."""

import base64
import json
import time
from typing import Any

from runtime.timestamps import timestamp
from tests.support.rig import Volume

TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"
ACCOUNT = "csi.storage.k8s.io/serviceAccount.name"


def token(volume: Volume, account: str = "default", **claims: Any) -> str:
    """A token of the volume's pod; ``claims`` replace what it says of Kubernetes."""
    private = {
        "namespace": volume.namespace,
        "pod": {"name": volume.pod, "uid": volume.pod_uid},
        "serviceaccount": {"name": account, "uid": f"uid-of-{account}"},
        **claims,
    }
    payload = {"sub": f"system:serviceaccount:{volume.namespace}:{account}", "kubernetes.io": private}
    return f"{_part({'alg': 'none'})}.{_part(payload)}.{_part({'a': volume.pod_uid})}"


def with_token(
    volume: Volume,
    account: str = "default",
    audiences: tuple[str, ...] = ("vault",),
    lifetime: float = 3600,
    **claims: Any,
) -> Volume:
    """The volume, with tokens of a service account for these audiences."""
    text = token(volume, account, **claims)
    item = {"token": text, "expirationTimestamp": timestamp(time.time() + lifetime)}
    volume.attributes = {
        **volume.attributes,
        ACCOUNT: account,
        TOKENS: json.dumps(dict.fromkeys(audiences, item)),
    }
    return volume


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
