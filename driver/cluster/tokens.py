"""Service account tokens by TokenRequest, for providers that log in to their store with them.

A token is kept until four fifths of its life are over, as kubelet does
(https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#launch-a-pod-using-service-account-token-projection),
by the monotonic clock.
"""

import asyncio
import base64
import json
import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from driver.cluster.api import Api
from driver.objects.names import is_object_name
from runtime import redact
from runtime.errors import Failure, InvalidRequest, NotFound, PermissionDenied
from runtime.timestamps import parse_timestamp

TOKEN_SECONDS = 600
USED_PART = 0.8
MAX_TOKENS = 4096


@dataclass(frozen=True)
class _Token:
    """What kubelet puts into the JSON, and the loop time until which it is used."""

    entry: dict[str, str] = field(repr=False)
    until: float


class TokenSource:
    """Implements ``secretsync.ports.Tokens``."""

    def __init__(self, api: Api, audiences: Sequence[str]) -> None:
        self._api = api
        self._audiences = tuple(dict.fromkeys(audiences))
        self._kept: OrderedDict[tuple[str, str, str], _Token] = OrderedDict()

    async def get(self, namespace: str, service_account: str) -> str:
        """The tokens as JSON by audience, as kubelet sends them in the volume context; empty without audiences."""
        if not self._audiences:
            return ""
        tokens = {audience: await self._token(namespace, service_account, audience) for audience in self._audiences}
        redact.withhold(*(token["token"].encode() for token in tokens.values()))
        return json.dumps(tokens, separators=(",", ":"))

    async def _token(self, namespace: str, service_account: str, audience: str) -> dict[str, str]:
        loop, key = asyncio.get_running_loop(), (namespace, service_account, audience)
        kept = self._kept.get(key)
        if kept is None or kept.until <= loop.time():
            kept = self._kept[key] = await self._request(namespace, service_account, audience)
            self._kept.move_to_end(key)
            if len(self._kept) > MAX_TOKENS:
                self._kept.popitem(last=False)
        return kept.entry

    async def _request(self, namespace: str, service_account: str, audience: str) -> _Token:
        if not is_object_name(service_account):
            raise InvalidRequest(f"serviceAccountName {service_account!r} is not the name of a service account")
        started = asyncio.get_running_loop().time()
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        spec = {"audiences": [audience], "expirationSeconds": TOKEN_SECONDS}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        try:
            found = (await self._api.call("POST", path, body=body, quoted=True))["status"]
        except Failure as failure:
            raise _explained(failure, namespace, service_account, audience) from None
        return _Token(
            {"token": found["token"], "expirationTimestamp": found["expirationTimestamp"]},
            started + _life(found) * USED_PART * random.uniform(0.9, 1.0),
        )


def _life(status: dict[str, Any]) -> float:
    """The life in seconds. The server may shorten it; it is not computed with this machine's clock, which may be
    wrong, unless the server's own says that it is shorter than asked."""
    expires = parse_timestamp(status["expirationTimestamp"])
    issued = _issued_at(status["token"])
    if expires is None or issued is None:
        return TOKEN_SECONDS
    return max(0.0, min(expires - issued, TOKEN_SECONDS))


def _issued_at(token: str) -> float | None:
    """The time (Unix time) in a JSON Web Token (RFC 7519) at which it was issued; None if it is not one."""
    try:
        claims = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["iat"])
    except (IndexError, ValueError, KeyError, TypeError):
        return None


def _explained(failure: Failure, namespace: str, service_account: str, audience: str) -> Failure:
    account = f"service account {namespace}/{service_account}"
    if isinstance(failure, NotFound):
        return NotFound(f"{account} does not exist: create it, or correct spec.serviceAccountName ({failure})")
    if isinstance(failure, PermissionDenied):
        return PermissionDenied(f"no token of {account} for audience {audience!r}: {failure}")
    return failure
