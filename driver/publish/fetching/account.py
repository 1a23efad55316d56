"""The service account of a pod, with its UID: kubelet says its name only, the rest is in the tokens that it sends.

The tokens' signatures are not checked: they come from kubelet, over a socket that is root's. Where kubelet passes on
what a pod's author wrote in their place, because the CSIDriver object has no ``tokenRequests``, the chart has them
dropped (``--accept-context-tokens``).
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from driver.publish.attributes import tokens_of
from driver.publish.request import SERVICE_ACCOUNT, PublishRequest
from runtime.timestamps import parse_timestamp


class Account(NamedTuple):
    """``audiences`` are those of its tokens, ``expires`` is when the first of them does (Unix time)."""

    name: str
    uid: str
    audiences: tuple[str, ...]
    expires: float


def account_of(request: PublishRequest) -> Account | None:
    """The account that all tokens of a request name, and its kubelet; None without tokens, or if they do not agree.

    https://kubernetes-csi.github.io/docs/token-requests.html has the tokens' form,
    https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#schema-for-service-account-private-claims
    that of their claims.
    """
    try:
        tokens = json.loads(tokens_of(request) or "{}")
        claims = [_claims(item["token"]) for item in tokens.values()]
        uids = {_uid(each, request) for each in claims}
        ends = [parse_timestamp(item["expirationTimestamp"]) for item in tokens.values()]
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError, binascii.Error):
        return None
    if len(uids) != 1 or not all(uids):
        return None
    expires = min((end for end in ends if end is not None), default=float("inf"))
    return Account(request.identity[SERVICE_ACCOUNT], uids.pop(), tuple(sorted(map(str, tokens))), expires)


def _claims(token: str) -> Mapping[str, Any]:
    payload = token.split(".")[1]
    decoded = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    claims: Mapping[str, Any] = decoded["kubernetes.io"]
    return claims


def _uid(claims: Mapping[str, Any], request: PublishRequest) -> str:
    """The UID of the account; empty if the token is another one's, or another pod's."""
    account, pod = claims["serviceaccount"], claims.get("pod") or {"uid": request.pod.uid}
    named = claims["namespace"], account["name"], pod["uid"]
    if named != (request.pod.namespace, request.identity.get(SERVICE_ACCOUNT), request.pod.uid):
        return ""
    uid = account["uid"]
    return uid if isinstance(uid, str) else ""
