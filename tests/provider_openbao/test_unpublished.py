"""Leases of volumes that have gone: revoked where the provider sees their target paths."""

import asyncio
from pathlib import Path

import pytest

from provider_kit import MountRequest, PermissionDenied, Unavailable
from provider_openbao.provider import OpenBaoProvider
from provider_openbao.unpublished import TargetPaths, Volume
from tests.provider_openbao.fake_store import FakeStore, always, fake_store, provider, request
from tests.provider_openbao.test_leases import OBJECTS, PATH, STATIC
from tests.provider_openbao.upkeep import REVOKE, revoked, rounds
from tests.support.waiting import run_async, until

pytestmark = pytest.mark.usefixtures("quick_upkeep")


def volume_request(store: FakeStore, target: Path, pod: str = "pod-1", objects: str = OBJECTS) -> MountRequest:
    """A Mount request for a target path, which the driver has made."""
    target.mkdir(parents=True, exist_ok=True)
    asked = request(store, pod, objects=objects)
    return MountRequest(asked.attributes, {}, str(target), 0o644, {})


def leasing(store: FakeStore) -> None:
    """Let the store answer with leases."""
    store.life = 1_000_000
    store.lease = {"lease_duration": 36000, "renewable": True}


def test_revoked_when_unpublished(tmp_path: Path) -> None:
    """Two pods with a database user each; the target path of one is removed → its lease is revoked, the other's not."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            leasing(store)
            for pod in ("pod-1", "pod-2"):
                await made.mount(volume_request(store, tmp_path / pod, pod))
            (tmp_path / "pod-1").rmdir()
            await until(lambda: store.calls[REVOKE] == 1, "the revocation")
            assert revoked(store) == [f"{PATH}/1"]
            # Published again, as kubelet does after a failure of its own: it gets another.
            await made.mount(volume_request(store, tmp_path / "pod-1"))
            assert store.calls[PATH] == 3

    run_async(scenario)


def test_not_revoked_without_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target path was never seen, cannot be looked at, is of a class without leases, or there was no answer yet →
    nothing is revoked."""
    moved = tmp_path / "moved"

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            leasing(store)
            await made.mount(request(store, objects=OBJECTS))
            await made.mount(volume_request(store, moved / "mount", "pod-2"))
            moved.rename(tmp_path / "elsewhere")
            moved.symlink_to(moved)  # a loop, so that nobody can say what is there
            store.lease = {}
            await made.mount(volume_request(store, tmp_path / "static", "pod-3", STATIC))
            (tmp_path / "static").rmdir()
            leasing(store)
            store.answers["kv/absent"] = always(403, "permission denied")
            mixed = f"{OBJECTS}\n- {{objectName: other, secretPath: kv/absent}}"
            with pytest.raises(PermissionDenied):
                await made.mount(volume_request(store, tmp_path / "failed", "pod-4", mixed))
            (tmp_path / "failed").rmdir()
            await rounds(monkeypatch, made, 3)
            assert store.calls[REVOKE] == 0

    run_async(scenario)


def test_store_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is sealed when a volume goes → one call a round, not one for each lease, and all are revoked once it is
    unsealed; revoking is forbidden → asked once."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            leasing(store)
            for number in range(5):
                await made.mount(volume_request(store, tmp_path / f"pod-{number}", f"pod-{number}"))
            store.answers[REVOKE] = always(503, "Vault is sealed")
            for number in range(5):
                (tmp_path / f"pod-{number}").rmdir()
            await until(lambda: store.calls[REVOKE] > 0, "an attempt")
            before = store.calls[REVOKE]
            await rounds(monkeypatch, made, 3)
            assert store.calls[REVOKE] - before <= 4
            del store.answers[REVOKE]
            store.bodies.clear()
            await until(lambda: len(set(revoked(store))) == 5, "the revocations")

            await made.mount(volume_request(store, tmp_path / "pod-9", "pod-9"))
            store.answers[REVOKE] = always(403, "permission denied")
            store.calls[REVOKE] = 0
            (tmp_path / "pod-9").rmdir()
            await rounds(monkeypatch, made, 3)
            assert store.calls[REVOKE] == 1

    run_async(scenario)


def test_path_that_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume is asked for while its path is looked at, or while a call for it runs → it has not gone."""
    target = tmp_path / "mount"

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            volume = await seen(made, store, target)
            paths = made._target_paths
            target.rmdir()
            with paths.in_use(volume):
                assert await paths.take_gone() == []
            looking = asyncio.Event()

            async def slowly(work: object, volumes: list[Volume]) -> list[Volume]:
                looking.set()
                await asyncio.sleep(0)
                return volumes

            with monkeypatch.context() as patched:
                patched.setattr("provider_openbao.unpublished.asyncio.to_thread", slowly)
                take = asyncio.create_task(paths.take_gone())
                await looking.wait()
                with paths.in_use(volume):
                    pass
                assert await take == []
            assert await paths.take_gone() == [volume]
            assert not paths._calls and not paths._seen and not paths._running

    run_async(scenario)


async def seen(made: OpenBaoProvider, store: FakeStore, target: Path) -> Volume:
    """A volume with a lease whose target path the provider has seen; nothing looks at it by itself."""
    leasing(store)
    await made.mount(volume_request(store, target))
    assert made._upkeep is not None
    made._upkeep.cancel()
    (volume,) = made._leases.volumes
    return volume


def test_nothing_stays(tmp_path: Path) -> None:
    """Calls for volumes without a visible path, and calls that fail → nothing is remembered of them."""

    async def scenario() -> None:
        async with fake_store() as store, provider() as made:
            await made.mount(request(store, objects=OBJECTS))
            store.answers["*"] = always(503, "Vault is sealed")
            with pytest.raises(Unavailable):
                await made.mount(volume_request(store, tmp_path / "pod", "pod-2"))
            paths: TargetPaths = made._target_paths
            assert not paths._calls and not paths._seen and not paths._running

    run_async(scenario)
