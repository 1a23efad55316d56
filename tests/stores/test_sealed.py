"""A real server that is sealed, stopped and started again, with its state on disk."""

import asyncio
from pathlib import Path

import pytest

from tests.stores.identities import Issuer, prepare_app
from tests.stores.openbao import OpenBao
from tests.stores.rig import secret, store_rig
from tests.support.waiting import run_async, until

ITEM = secret("password", "secret/data/app")


@pytest.mark.usefixtures("openbao_program")
def test_sealed(tmp_path: Path, issuer: Issuer) -> None:
    """The server is sealed while pods start, stopped, and started again → each says what is wrong; a volume that is
    mounted keeps its content; as soon as it is unsealed everything works, with the tokens that are there."""
    storage, pods = tmp_path / "storage", tmp_path / "node"
    storage.mkdir()
    pods.mkdir()

    async def scenario() -> None:
        with OpenBao(tmp_path, storage) as bao:
            await asyncio.to_thread(prepare_app, bao, issuer)
            config = {"enable_secret_rotation": True, "rotation_poll_interval": 0.2}
            async with store_rig(pods, bao, issuer, config=config) as rig:
                rig.write_class(ITEM)
                mounted = rig.volume()
                await mounted.publish()
                await asyncio.to_thread(bao.seal)
                waiting = [rig.volume(f"waiting-{number}") for number in range(5)]
                for code, sentence in await asyncio.gather(*(volume.failure(60) for volume in waiting)):
                    assert code.name == "UNAVAILABLE"
                    assert f"{bao.url} is sealed: unseal it" in sentence
                await mounted.publish()
                assert mounted.read() == b"one"

                await asyncio.to_thread(bao.stop)
                code, sentence = await waiting[0].failure(60)
                assert code.name == "UNAVAILABLE"
                assert f"cannot reach {bao.url}" in sentence

                await asyncio.to_thread(bao.start)
                code, sentence = await waiting[0].failure(60)
                assert "is sealed" in sentence
                await asyncio.to_thread(bao.unseal)
                since = bao.mark()
                await asyncio.gather(*(volume.publish(60) for volume in waiting))
                assert {volume.read() for volume in waiting} == {b"one"}
                assert not bao.calls("auth/jwt/login", since)

                await asyncio.to_thread(bao.put, "app", password="two")

                async def fresh() -> bool:
                    await waiting[0].publish()
                    return waiting[0].read() == b"two"

                await until(fresh, "the new value", 60, 0.3)

    run_async(scenario, 170)


@pytest.mark.usefixtures("openbao_program")
def test_not_initialized(tmp_path: Path, issuer: Issuer) -> None:
    """A server that was never initialized → said, with the command."""
    storage, pods = tmp_path / "storage", tmp_path / "node"
    storage.mkdir()
    pods.mkdir()

    async def scenario() -> None:
        with OpenBao(tmp_path, storage) as bao:
            async with store_rig(pods, bao, issuer) as rig:
                rig.write_class(ITEM)
                code, sentence = await rig.volume().failure(60)
                assert code.name == "FAILED_PRECONDITION"
                assert "is not initialized" in sentence and "bao operator init" in sentence

    run_async(scenario, 170)
