"""Pods that start while a real store is killed, hangs or is sealed, and how soon they have fresh content afterwards."""

import asyncio
import logging
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from driver.ports import LAST_KNOWN_GOOD_ANNOTATION, SHARE_ANNOTATION
from driver.publish import renewals
from tests.stores.identities import Issuer, jwt_role, prepare_app
from tests.stores.openbao import OpenBao
from tests.stores.rig import StoreRig, secret, store_rig
from tests.support.http_client import fetch
from tests.support.ports import free_port
from tests.support.provider_calls import started
from tests.support.rig import Rig, Volume, rig
from tests.support.waiting import run_async, until

ITEM = secret("password", "secret/data/app")
ANNOTATIONS = {SHARE_ANNOTATION: "30s", LAST_KNOWN_GOOD_ANNOTATION: "6h"}
PROGRAM = Path(sys.executable).parent / "secrets-store-provider-openbao"
START_SECONDS, FRESH_SECONDS = 5.0, 10.0
log = logging.getLogger(__name__)


class Timeline:
    """What happened when, in seconds since a moment; logged, for docs/outages.md."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def note(self, what: str) -> float:
        """Something has happened now; returns the moment."""
        moment = time.monotonic() - self._began
        log.info("%6.2f s  %s", moment, what)
        return moment


@asynccontextmanager
async def prepared(tmp_path: Path, issuer: Issuer, annotations: dict[str, str]) -> AsyncIterator[StoreRig]:
    """A server with its state on disk, and a class with these annotations."""
    storage, pods = tmp_path / "storage", tmp_path / "node"
    storage.mkdir()
    pods.mkdir()
    with OpenBao(tmp_path, storage) as bao:
        await asyncio.to_thread(prepare_app, bao, issuer)
        async with store_rig(pods, bao, issuer) as rig:
            rig.write_class(ITEM, spec={"annotations": annotations})
            yield rig


def _kill(bao: OpenBao) -> None:
    bao.kill()


def _revive(bao: OpenBao) -> None:
    bao.start()
    bao.unseal()


# How the store goes away, and how it comes back.
WAYS: dict[str, tuple[Callable[[OpenBao], None], Callable[[OpenBao], None]]] = {
    "killed": (_kill, _revive),
    "hangs": (OpenBao.freeze, OpenBao.thaw),
    "sealed": (OpenBao.seal, OpenBao.unseal),
}


@pytest.mark.usefixtures("openbao_program")
@pytest.mark.parametrize("way", WAYS)
def test_timeline(tmp_path: Path, issuer: Issuer, way: str) -> None:
    """The store goes away; a CronJob's next pod, and twenty more → each starts within 5 s, with the last content; the
    store is back → the content is fresh within 10 s, for all with the few reads that were in progress."""
    go, come = WAYS[way]

    async def scenario() -> None:
        async with prepared(tmp_path, issuer, ANNOTATIONS) as rig:
            first, second = rig.volume("cron-1"), rig.volume("cron-2")
            await first.publish()
            await first.unpublish()
            timeline = Timeline()
            timeline.note("the pod of the last run has ended")
            await asyncio.to_thread(go, rig.bao)
            _outlive_the_share(rig)
            timeline.note(f"the store {'hangs' if way == 'hangs' else f'is {way}'}")
            began = timeline.note("kubelet asks for the volume of the next run's pod")
            await second.publish(60)
            assert timeline.note("the pod has its content") - began <= START_SECONDS
            assert second.read() == b"one"
            [shown] = rig.rig.driver.snapshot()["volumes"]
            log.info("          %s", shown["reason"])
            others = [rig.volume(f"other-{number}") for number in range(20)]
            began = timeline.note("kubelet asks for the volumes of 20 more pods")
            await asyncio.gather(*(volume.publish(60) for volume in others))
            assert timeline.note("all have their content") - began <= START_SECONDS
            await asyncio.sleep(5)  # long enough for the pauses between two questions to grow to the longest

            await asyncio.to_thread(come, rig.bao)
            back = timeline.note("the store answers again")
            await asyncio.to_thread(rig.bao.retry, lambda: rig.bao.put("app", password="two"))
            mark = rig.bao.mark()
            volumes = [second, *others]
            await until(lambda: _in_order(rig, volumes), "fresh content", 30)
            assert timeline.note("the content of all 21 pods is fresh") - back <= FRESH_SECONDS
            # It may have been read just before the new value was written.
            assert {volume.read() for volume in volumes} in ({b"one"}, {b"two"})
            assert len(rig.bao.calls("secret/data/app", mark)) <= renewals.MAX_TRIES

    run_async(scenario, 170)


def _outlive_the_share(rig: StoreRig) -> None:
    """What was fetched less than 30 s ago would be shared, and show nothing of the outage."""
    [held] = rig.rig.driver.publish_path.held._replies.values()
    object.__setattr__(held, "fetched_at", held.fetched_at - 42 * 60)


def _in_order(rig: StoreRig, volumes: list[Volume]) -> bool:
    known = [rig.rig.driver.volumes.get(str(volume.target)) for volume in volumes]
    return all(volume is not None and volume.failure is None for volume in known)


@pytest.mark.usefixtures("openbao_program")
def test_a_right_that_was_withdrawn(tmp_path: Path, issuer: Issuer) -> None:
    """The account loses its right, and a pod is refused; then the store is killed → no pod of it starts any more."""

    async def scenario() -> None:
        async with prepared(tmp_path, issuer, {LAST_KNOWN_GOOD_ANNOTATION: "6h"}) as rig:
            await rig.volume("pod-1").publish()
            await asyncio.to_thread(rig.bao.policy, "app", "secret/data/other read")
            code, sentence = await rig.volume("pod-2").failure(60)
            assert code.name == "PERMISSION_DENIED", sentence
            await asyncio.to_thread(rig.bao.kill)
            code, sentence = await rig.volume("pod-3").failure(60)
            assert code.name == "UNAVAILABLE" and "cannot reach" in sentence

    run_async(scenario, 170)


@pytest.mark.usefixtures("openbao_program")
def test_accounts_share_nothing(tmp_path: Path, issuer: Issuer) -> None:
    """Pods of two service accounts start together, and the store is killed → each account's pods have read for
    themselves, and an account whose role does not allow it gets nothing, neither then nor during the outage."""

    async def scenario() -> None:
        async with prepared(tmp_path, issuer, ANNOTATIONS) as rig:
            mark = rig.bao.mark()
            allowed = [rig.volume(f"a-{number}") for number in range(10)]
            refused = [rig.volume(f"b-{number}", account="intruder") for number in range(10)]
            publishes = (volume.publish(60) for volume in [*allowed, *refused])
            results = await asyncio.gather(*publishes, return_exceptions=True)
            assert [result is None for result in results] == [True] * 10 + [False] * 10
            assert len(rig.bao.calls("secret/data/app", mark)) == 1
            await asyncio.to_thread(rig.bao.kill)
            _outlive_the_share(rig)
            code, _ = await rig.volume("b-late", account="intruder").failure(60)
            assert code.name == "UNAVAILABLE"
            late = rig.volume("a-late")
            await late.publish(60)
            assert late.read() == b"one"

    run_async(scenario, 170)


@pytest.mark.usefixtures("openbao_program")
def test_burst(bao: OpenBao, issuer: Issuer, tmp_path: Path) -> None:
    """110 pods of one Deployment start at once; the provider is a process of its own → one call to it and one read of
    the store; without the annotation 110 of each."""
    bao.put("burst", password="one")
    bao.policy("burst", "secret/data/burst read")
    jwt_role(bao, "burst", "default", "burst")
    port = free_port()
    command = [str(PROGRAM), "--metrics-addr", f"127.0.0.1:{port}"]

    def calls() -> int:
        found = re.search(r'^secrets_store_provider_mounts_total\{code="OK"\} (\d+)', fetch(port, "/metrics")[1], re.M)
        return int(found[1]) if found else 0

    async def burst(it: Rig, name: str, annotations: dict[str, str]) -> tuple[int, int]:
        """Calls to the provider, and reads of the store."""
        parameters = {"vaultAddress": bao.url, "vaultAuthMountPath": "jwt", "roleName": "burst"}
        parameters["objects"] = yaml.safe_dump([secret("password", "secret/data/burst")])
        it.write_class(name, provider="openbao", annotations=annotations, parameters=parameters)
        mark, before = bao.mark(), await asyncio.to_thread(calls)
        tokens = issuer.attributes()
        volumes = [it.volume(f"{name}-{number}", class_name=name, attributes=tokens) for number in range(110)]
        began = time.monotonic()
        await asyncio.gather(*(volume.publish(60) for volume in volumes))
        seconds = time.monotonic() - began
        made, reads = await asyncio.to_thread(calls) - before, len(bao.calls("secret/data/burst", mark))
        log.info("%s: 110 pods in %.1f s, %d calls, %d reads", name, seconds, made, reads)
        assert {volume.read() for volume in volumes} == {b"one"}
        return made, reads

    async def scenario() -> None:
        async with rig(tmp_path) as it, started(command, it.providers_dir / "openbao.sock"):
            assert await burst(it, "each", {}) == (110, 110)
            assert await burst(it, "shared", {SHARE_ANNOTATION: "30s"}) == (1, 1)

    run_async(scenario, 170)
