"""Two real servers, of which one is a standby."""

import asyncio
from pathlib import Path

import pytest

from tests.stores.identities import Issuer, prepare_app
from tests.stores.openbao import OpenBao
from tests.stores.rig import secret, store_rig
from tests.support.waiting import run_async


def _server(directory: Path, name: str) -> OpenBao:
    (directory / name / "storage").mkdir(parents=True)
    return OpenBao(directory / name, directory / name / "storage")


@pytest.mark.usefixtures("openbao_program")
def test_standby(tmp_path: Path, issuer: Issuer) -> None:
    """A class has the address of the standby → it works, by the active server; that one ends → a sentence that says
    what the server at the address is, and a volume keeps its content; it is back → new volumes are filled."""
    (tmp_path / "node").mkdir()

    async def scenario() -> None:
        with _server(tmp_path, "active") as active, _server(tmp_path, "standby") as standby:
            await asyncio.to_thread(prepare_app, active, issuer)
            await asyncio.to_thread(standby.join, active)
            async with store_rig(tmp_path / "node", standby, issuer) as rig:
                rig.write_class(secret("password", "secret/data/app"))
                mounted, late = rig.volume(), rig.volume("late")
                await mounted.publish()
                assert mounted.read() == b"one"
                await asyncio.to_thread(active.stop)
                code, sentence = await late.failure(120)
                assert code.name == "UNAVAILABLE" and f"{standby.url} is a standby" in sentence, sentence
                assert mounted.read() == b"one"
                await asyncio.to_thread(active.start)
                await asyncio.to_thread(active.unseal)
                await asyncio.to_thread(standby.retry, lambda: standby.call("GET", "sys/mounts"))
                await late.publish(60)
                assert late.read() == b"one"

    run_async(scenario, 170)
