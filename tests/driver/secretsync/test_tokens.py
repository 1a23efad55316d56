"""Service account tokens for providers: how long they are kept."""

import asyncio
import json
from typing import Any

import pytest

from driver.cluster.tokens import TOKEN_SECONDS, USED_PART, TokenSource


class Requests:
    """An API server that issues tokens, one after the other."""

    def __init__(self) -> None:
        self.issued = 0

    async def call(self, *_: object, body: Any, **__: object) -> dict[str, Any]:
        """A token that says nothing of its life."""
        assert body["spec"]["expirationSeconds"] == TOKEN_SECONDS == 600
        self.issued += 1
        return {"status": {"token": f"token-{self.issued}", "expirationTimestamp": "2100-01-01T00:00:00Z"}}


def test_a_token_is_renewed_before_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is used until 80 % of its 600 s are over, at most; then another one is requested."""

    async def run() -> None:
        loop, api, passed = asyncio.get_running_loop(), Requests(), 0.0
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + passed)
        source = TokenSource(api, ["vault"])  # type: ignore[arg-type]  # only call is used

        async def token() -> str:
            return str(json.loads(await source.get("ns", "app"))["vault"]["token"])

        assert [await token(), await token()] == ["token-1", "token-1"]
        passed = TOKEN_SECONDS * USED_PART * 0.89  # it is renewed up to a tenth earlier
        assert await token() == "token-1"
        passed = TOKEN_SECONDS * USED_PART + 0.1
        assert USED_PART == 0.8 and await token() == "token-2"
        assert json.loads(await source.get("ns", "other"))["vault"]["token"] == "token-3"

    asyncio.run(run())
