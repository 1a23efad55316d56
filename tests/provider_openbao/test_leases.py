"""Dynamic secrets: made once for each volume, renewed, replaced and revoked."""

import time

import pytest

from provider_kit import MountReply
from tests.provider_openbao import clock
from tests.provider_openbao.fake_store import always, contents, fake_store, provider, request
from tests.provider_openbao.upkeep import REVOKE, revoked, rounds
from tests.support.waiting import run_async, until

PATH = "database/creds/app"
OBJECTS = f"- {{objectName: password, secretPath: {PATH}}}"
STATIC = "- {objectName: password, secretPath: kv/app, secretKey: password}"
RENEW = "sys/leases/renew"
pytestmark = pytest.mark.usefixtures("quick_upkeep")


def test_kept_until_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume is refreshed often → one secret, whose lease is renewed after two thirds of its life; when the server
    grants little more, a new secret, and the former lease is revoked once the pod has had time to notice."""
    now = clock.installed(monkeypatch)

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            store.life = 1_000_000
            store.lease = {"lease_duration": 600, "renewable": True}

            async def refresh() -> MountReply:
                return await made.mount(request(store, objects=OBJECTS))

            first = await refresh()
            assert contents(await refresh()) == contents(first)
            now.pass_(450)
            assert (await refresh()).versions == first.versions
            assert (store.calls[PATH], store.calls[RENEW]) == (1, 1)
            now.pass_(450)
            store.lease["lease_duration"] = 200
            store.answers[RENEW] = always(400, "lease is near its end")
            assert (await refresh()).versions != first.versions
            assert (store.calls[PATH], store.calls[RENEW], store.calls[REVOKE]) == (2, 2, 0)
            store.lease["lease_duration"] = 600

    run_async(scenario)


def test_replaced_lease_is_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class no longer has the object → its lease is revoked after five minutes, not before."""
    now = clock.installed(monkeypatch)

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            store.life = 1_000_000
            store.lease = {"lease_duration": 36000, "renewable": True}
            await made.mount(request(store, objects=f"{OBJECTS}\n{STATIC.replace('password,', 'static,')}"))
            store.lease = {}
            await made.mount(request(store, objects=STATIC))
            now.pass_(200)
            await rounds(monkeypatch, made, 2)
            assert store.calls[REVOKE] == 0
            now.pass_(200)
            await until(lambda: store.calls[REVOKE] == 1, "the revocation")
            assert revoked(store) == [f"{PATH}/1"]

    run_async(scenario)


def test_token_with_a_shorter_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that is longer than the token's life, with which it ends → the same secret as long as the token is
    renewed, and a new one with a new token."""
    now = clock.installed(monkeypatch)

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            store.lease = {"lease_duration": 36000, "renewable": True}
            for _ in range(6):
                await made.mount(request(store, objects=OBJECTS))
                now.pass_(1500)
            assert store.calls["auth/token/renew-self"] >= 2
            assert store.calls[PATH] == 1
            store.answers["auth/token/renew-self"] = always(403, "permission denied")
            for _ in range(2):
                now.pass_(1500)
                await made.mount(request(store, objects=OBJECTS))
            assert store.calls[PATH] == 2

    run_async(scenario)


def test_each_pod_has_its_own() -> None:
    """Two pods of one service account and class → two secrets."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            store.lease = {"lease_duration": 600, "renewable": True}
            for pod in ("pod-1", "pod-2", "pod-1"):
                await made.mount(request(store, pod, objects=OBJECTS))
            assert store.calls[PATH] == 2

    run_async(scenario)


def test_store_away_while_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is away when a lease is to be renewed, and it is still valid → the volume keeps it."""
    now = clock.installed(monkeypatch)

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            store.life = 1_000_000
            store.lease = {"lease_duration": 600, "renewable": True}
            first = await made.mount(request(store, objects=OBJECTS))
            now.pass_(450)
            store.answers["*"] = always(503, "Vault is sealed")
            assert contents(await made.mount(request(store, objects=OBJECTS))) == contents(first)

    run_async(scenario)


def test_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate has no lease, but an expiration → it is issued again after two thirds of its life, not with each
    refresh."""
    now = clock.installed(monkeypatch)
    objects = "- {objectName: web.pem, method: PUT, secretPath: kv/web, secretKey: certificate, secretArgs: {ttl: 1h}}"

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            store.life = 1_000_000
            store.data = {"certificate": "PEM", "expiration": int(time.time()) + 3600}
            for seconds, issued in ((0, 1), (1800, 1), (600 + 60, 2)):
                now.pass_(seconds)
                await made.mount(request(store, objects=objects))
                store.data = {"certificate": "PEM 2", "expiration": int(now.time()) + 3600}
                assert store.calls["kv/web"] == issued
            assert ("kv/web", {"ttl": "1h"}) in store.bodies

    run_async(scenario)
