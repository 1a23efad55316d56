"""Logging in, and the tokens that come of it.

A token is kept for those that would get the same one: same server and TLS settings, same auth mount, role and audience,
and the same service account, by its namespace, its name and its UID. Never for another service account, and never for
one that was deleted and created again. Ahead of a token's end it is renewed, since dynamic secrets end with the token
that fetched them, and where that is refused there is a new login.
"""

import asyncio
import base64
import hashlib
import json
import time
from dataclasses import dataclass, field

from provider_kit import Failure, InvalidRequest, MountRequest, NotFound, PermissionDenied, PreconditionFailed, withhold
from provider_openbao.client import Answer, Client
from provider_openbao.settings import Auth, Server

MAX_TOKENS = 10_000
RENEW_AFTER = 2 / 3
"""Of its life, the part after which a token or a lease is renewed, or replaced."""


@dataclass(frozen=True)
class Identity:
    """Whose token it is."""

    server: Server
    method: str
    mount: str
    role: str
    audience: str
    namespace: str
    service_account: str
    service_account_uid: str
    credentials: str = field(repr=False)


@dataclass
class Token:
    """A token of the store; ``life`` in seconds, 0 for one that does not end."""

    value: str = field(repr=False)
    life: float
    renewable: bool
    since: float

    @property
    def left(self) -> float:
        """Seconds until it ends."""
        return self.since + self.life - time.monotonic() if self.life else float("inf")

    @property
    def due(self) -> bool:
        """Whether it is to be renewed or replaced."""
        return self.left < self.life * (1 - RENEW_AFTER)


class Logins:
    """Tokens by identity. Those that need the same token at the same time wait for one login."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tokens: dict[Identity, Token] = {}
        self._locks: dict[Identity, asyncio.Lock] = {}

    async def token(self, identity: Identity, auth: Auth, jwt: str, refused: Token | None = None) -> Token:
        """A valid token, if possible one that is there; ``refused`` is one that the server no longer takes."""
        if len(self._tokens) > MAX_TOKENS:
            self._tokens = {key: token for key, token in self._tokens.items() if token.left > 0}
            self._locks = {key: lock for key, lock in self._locks.items() if key in self._tokens or lock.locked()}
        async with self._locks.setdefault(identity, asyncio.Lock()):
            token = self._tokens.get(identity)
            if token is not None and token is not refused and token.due:
                token = token if await self._renew(identity, token) else None
            if token is None or token is refused:
                self._tokens.pop(identity, None)
                token = self._tokens[identity] = await self._login(identity, auth, jwt)
            withhold(token.value)
            return token

    async def is_valid(self, identity: Identity, token: Token) -> bool:
        """Whether the server still takes the token: a refusal has two reasons, and only one is worth a login."""
        return (await self._client.call(identity.server, "GET", "auth/token/lookup-self", token=token.value)).ok

    async def _login(self, identity: Identity, auth: Auth, jwt: str) -> Token:
        if auth.method == "token":
            return Token(auth.credentials["token"], 0, False, time.monotonic())
        body = auth.credentials if auth.method == "approle" else {"jwt": jwt, "role": auth.role}
        since = time.monotonic()
        path = f"auth/{auth.mount}/login"
        answer = await self._client.call(identity.server, "POST", path, body=json.dumps(dict(body)))
        given = answer.data.get("auth")
        if not answer.ok or not isinstance(given, dict) or not given.get("client_token"):
            raise _refusal(identity, auth, answer)
        return Token(
            str(given["client_token"]), float(given.get("lease_duration") or 0), bool(given.get("renewable")), since
        )

    async def _renew(self, identity: Identity, token: Token) -> bool:
        if not token.renewable or token.left <= 0:
            return False
        since = time.monotonic()
        answer = await self._client.call(identity.server, "POST", "auth/token/renew-self", token=token.value)
        given = answer.data.get("auth") if answer.ok else None
        life = float(given.get("lease_duration") or 0) if isinstance(given, dict) else 0.0
        # Near its greatest age the server shortens what it grants: then a new one is better than many renewals.
        if life < token.life * RENEW_AFTER:
            return False
        token.life, token.since = life, since
        return True


def identify(request: MountRequest, server: Server, auth: Auth) -> tuple[Identity, str]:
    """Who asks, and with which token of the pod's service account; the latter is empty if the login needs none."""
    jwt = "" if auth.method in ("approle", "token") else _pod_token(request, auth.audience)
    pod = request.pod
    digest = hashlib.sha256(json.dumps(dict(auth.credentials), sort_keys=True).encode()).hexdigest()
    identity = Identity(
        server,
        auth.method,
        auth.mount,
        auth.role,
        auth.audience,
        pod.namespace,
        pod.service_account,
        _service_account_uid(jwt),
        digest if auth.credentials else "",
    )
    return identity, jwt


def _pod_token(request: MountRequest, audience: str) -> str:
    if audience:
        return request.token(audience)
    tokens = request.tokens
    token = tokens.get("vault") or tokens.get("")
    if token is None:
        raise InvalidRequest(
            "no token of the pod's service account: add an audience, such as vault, to tokenRequests of the CSIDriver "
            "object, and name it in the parameter audience of the class"
        )
    return token.value


def _service_account_uid(jwt: str) -> str:
    """As the token says; kubelet has got it from the API server, so nobody else may have written it."""
    try:
        payload = jwt.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims["kubernetes.io"]["serviceaccount"]["uid"])
    except (IndexError, KeyError, TypeError, ValueError):
        return ""


def _refusal(identity: Identity, auth: Auth, answer: Answer) -> Failure:
    said, where = answer.errors, f"{identity.server.address}, auth/{auth.mount}"
    what = f"login at {where} failed (HTTP {answer.status}{': ' + said if said else ''})"
    lower = said.lower()
    if answer.status == 404 or "no handler for route" in lower:
        return NotFound(f"{what}: there is no such auth method; correct vaultAuthMountPath, or vaultNamespace")
    if "could not load configuration" in lower or "could not load backend configuration" in lower:
        return PreconditionFailed(f"{what}: the auth method is not configured; write auth/{auth.mount}/config")
    if auth.method == "approle":
        return PermissionDenied(f"{what}: correct role_id and secret_id in the node publish Secret")
    if "role" in lower and any(words in lower for words in ("could not be found", "invalid role", "not found")):
        return NotFound(f"{what}: correct roleName ({auth.role!r}), or create that role")
    if "audience" in lower or "(aud)" in lower:
        return PermissionDenied(f"{what}: audience in the class must be one that the role {auth.role!r} is bound to")
    if "expired" in lower:
        return PermissionDenied(f"{what}: the pod's token has expired; compare the clocks of node and server")
    account = f"{identity.namespace}/{identity.service_account}"
    remedy = f"role {auth.role!r} must allow the service account {account}; correct the role, or roleName"
    if lower == "permission denied":
        # All that a server says to strangers, also of auth methods that it does not have.
        remedy += f"; or there is no auth method auth/{auth.mount}: correct vaultAuthMountPath"
    return PermissionDenied(f"{what}: {remedy}")
