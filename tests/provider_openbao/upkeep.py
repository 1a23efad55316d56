"""What the provider revokes by itself, and when it has had the time for it."""

import pytest

from provider_openbao.provider import OpenBaoProvider
from tests.provider_openbao.fake_store import FakeStore
from tests.support.waiting import until

REVOKE = "sys/leases/revoke"


async def rounds(monkeypatch: pytest.MonkeyPatch, made: OpenBaoProvider, number: int) -> None:
    """Wait until the provider has looked so many more times for what is to be revoked."""
    done, run_due = [0], made._revocations.run_due

    async def counted() -> None:
        await run_due()
        done[0] += 1

    with monkeypatch.context() as patched:
        patched.setattr(made._revocations, "run_due", counted)
        await until(lambda: done[0] >= number, "rounds of revoking")


def revoked(store: FakeStore) -> list[str]:
    """The ids of the leases that the store was asked to revoke."""
    return [body["lease_id"] for path, body in store.bodies if path == REVOKE]
