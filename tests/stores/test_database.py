"""Users of a real PostgreSQL, made by OpenBao's database engine: made once for a pod, renewed, replaced, and revoked
when the pod has gone."""

from pathlib import Path

import pytest

from tests.stores.identities import Issuer, jwt_role
from tests.stores.openbao import OpenBao
from tests.stores.postgres import Postgres, database_role, enable_database
from tests.stores.rig import StoreRig, secret, store_rig
from tests.support.rig import Volume
from tests.support.waiting import run_async, until, until_blocking

ROTATING = {"enable_secret_rotation": True, "rotation_poll_interval": 0.2}


@pytest.fixture(scope="module")
def store(bao: OpenBao, postgres: Postgres) -> OpenBao:
    """The shared server with the engine, and a role that may use it."""
    enable_database(bao, postgres, "app", "brief")
    database_role(bao, "brief", ttl="6s", max_ttl="20s")
    bao.policy("database", "database/creds/* read", "sys/leases/revoke update", "sys/leases/renew update")
    jwt_role(bao, "database", "default", "database")
    return bao


@pytest.fixture(autouse=True)
def quick_upkeep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider looks often for what is to be revoked."""
    monkeypatch.setattr("provider_openbao.provider.UPKEEP_SECONDS", 0.3)


def write_class(rig: StoreRig, role: str = "app") -> None:
    """A class with both halves of one user."""
    path = f"database/creds/{role}"
    rig.write_class(secret("user", path, "username"), secret("password", path), roleName="database")


def login(volume: Volume) -> tuple[str, str]:
    """The user and the password in a volume."""
    return volume.read("user").decode(), volume.read("password").decode()


def test_the_user_goes_with_the_pod(tmp_path: Path, store: OpenBao, postgres: Postgres, issuer: Issuer) -> None:
    """Two pods → a user of their own each, which stays the same in refreshes and gets into the database; one pod is
    unpublished → its user is gone from the database, within moments and not at the lease's end; the other's stays."""

    async def scenario() -> None:
        async with store_rig(tmp_path, store, issuer, config=ROTATING) as rig:
            write_class(rig)
            first, second = rig.volume("pod-1"), rig.volume("pod-2")
            for volume in (first, second):
                await volume.publish()
                assert postgres.may_log_in(*login(volume))
            before = login(first)
            assert login(second) != before and len(postgres.users()) == 2
            calls = rig.provider.calls

            async def refreshed() -> bool:
                await first.publish()
                return rig.provider.calls >= calls + 3

            await until(refreshed, "refreshes", 60, 0.3)
            assert login(first) == before and len(postgres.users()) == 2

            await first.unpublish()
            await until_blocking(lambda: before[0] not in postgres.users(), "the user to be gone")
            assert not postgres.may_log_in(*before)
            assert postgres.users() == [login(second)[0]] and postgres.may_log_in(*login(second))
            assert len(store.leases("database/creds/app")) == 1

            await second.unpublish()
            await until_blocking(lambda: not postgres.users(), "the other user to be gone")
            assert not store.leases("database/creds/app")

    run_async(scenario)


def test_renewed_then_replaced(tmp_path: Path, store: OpenBao, postgres: Postgres, issuer: Issuer) -> None:
    """A role whose users live 6 s, and 20 s at most → the user is renewed beyond its 6 s, then another one takes its
    place before it ends: whenever the pod looks, what it reads gets into the database."""

    async def scenario() -> None:
        async with store_rig(tmp_path, store, issuer, config=ROTATING) as rig:
            write_class(rig, "brief")
            volume = rig.volume()
            await volume.publish()
            first, since = login(volume), store.mark()

            async def replaced() -> bool:
                await volume.publish()
                assert postgres.may_log_in(*login(volume))
                return login(volume) != first

            await until(replaced, "another user", 60, 0.3)
            assert store.calls("sys/leases/renew", since)
            assert len(store.calls("database/creds/brief", since)) == 1
            user, _ = login(volume)
            await volume.unpublish()
            await until_blocking(lambda: user not in postgres.users(), "the user to be gone", 5)

    run_async(scenario)
