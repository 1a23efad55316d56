"""Logging in, and the tokens that come of it.

A token is kept for those that would get the same one: same server and TLS settings, same auth mount, role and audience,
and the same service account, by its namespace, its name and its UID. Never for another service account, and never for
one that was deleted and created again. Ahead of a token's end it is renewed, since dynamic secrets end with the token
that fetched them, and where that is refused there is a new login.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from functools import partial

from provider_kit import withhold
from provider_openbao.client import Client
from provider_openbao.identity import Identity
from provider_openbao.login_failures import login_failure
from provider_openbao.settings import Auth

MAX_TOKENS = 10_000
RENEW_AFTER = 2 / 3
"""Of its life, the part after which a token or a lease is renewed, or replaced."""


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
    """Tokens by identity. Those that need the same token at the same time wait for one login, and get its failure, too:
    a store that is away is not called again for each of a hundred pods, one after another."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tokens: dict[Identity, Token] = {}
        self._running: dict[Identity, asyncio.Task[Token]] = {}

    async def close(self) -> None:
        """End the logins that run."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def token(self, identity: Identity, auth: Auth, jwt: str, refused: Token | None = None) -> Token:
        """A valid token, if possible one that is there; ``refused`` is one that the server no longer takes."""
        token = self._tokens.get(identity)
        if token is None or token is refused or token.due:
            token = await self._shared(identity, auth, jwt, refused)
            if token is refused:  # what ran already did not know of the refusal
                token = await self._shared(identity, auth, jwt, refused)
        withhold(token.value)
        return token

    async def _shared(self, identity: Identity, auth: Auth, jwt: str, refused: Token | None) -> Token:
        running = self._running.get(identity)
        if running is None:
            running = self._running[identity] = asyncio.create_task(self._fresh(identity, auth, jwt, refused))
            running.add_done_callback(partial(self._ended, identity))
        # A caller that gives up must not end it for the others.
        return await asyncio.shield(running)

    def _ended(self, identity: Identity, task: asyncio.Task[Token]) -> None:
        del self._running[identity]
        if not task.cancelled():
            task.exception()  # all who waited may have given up

    async def _fresh(self, identity: Identity, auth: Auth, jwt: str, refused: Token | None) -> Token:
        if len(self._tokens) > MAX_TOKENS:
            self._tokens = {key: token for key, token in self._tokens.items() if token.left > 0}
        token = self._tokens.get(identity)
        if token is not None and token is not refused and await self._renew(identity, token):
            return token
        self._tokens.pop(identity, None)
        token = self._tokens[identity] = await self._login(identity, auth, jwt)
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
            raise login_failure(identity, auth, answer)
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
