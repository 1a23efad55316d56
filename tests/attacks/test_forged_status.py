"""Somebody who may create pod statuses in a namespace claims the volume of another pod: a status with the node's label,
that pod's target path, and a class of his own that syncs files into his Secret. Then the driver restarts."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from driver.objects import pod_status
from driver.ports import ClassRef, Pod, VolumeRecord
from tests.support.fake_api import Silence
from tests.support.fake_api_rig import FakeApiRig, fake_api_rig
from tests.support.namespace_rig import NamespaceRig
from tests.support.rig import NODE, Rig, Volume
from tests.support.waiting import until

STATUSES = "secretproviderclasspodstatuses"
CANARY = "canary-4e1f"
STEAL = {"secretName": "stolen", "type": "Opaque", "data": [{"objectName": "password", "key": "pw"}]}


@dataclass
class Scene:
    """The victim's namespace and the attacker's, which is listed first, on one node."""

    victim: FakeApiRig
    attacker: FakeApiRig
    pod: Pod
    his_pod: Pod

    def claim(
        self, volume: Volume, here: NamespaceRig, name: str, pod: Pod, class_name: str = "mine"
    ) -> dict[str, Any]:
        """Create the pod status of an attack in a namespace."""
        owner = replace(pod, namespace=here.namespace)
        claimed = VolumeRecord(owner, ClassRef(here.namespace, class_name), volume.name, str(volume.target), {"x": "1"})
        return self.victim.api.create(pod_status.build_status(claimed, name, NODE))

    def attack(self, volume: Volume) -> list[str]:
        """All claims at once; the names of the statuses."""
        pod, his = self.pod, self.his_pod
        made = [
            self.claim(volume, self.attacker, "own-pod", his),
            self.claim(volume, self.attacker, "own-pod-with-the-uid", replace(his, uid=pod.uid)),
            self.claim(volume, self.attacker, "no-pod", replace(pod, name="nobody")),
            self.claim(volume, self.attacker, "pod-of-the-same-name", pod),
            self.claim(volume, self.attacker, "no-name", replace(pod, name="../../default/pods/pod-1")),
            # The API server would answer these with another object, or with what is not JSON.
            self.claim(volume, self.attacker, "subresource", replace(pod, name="pod-1/status")),
            self.claim(volume, self.attacker, "log", replace(pod, name="pod-1/log?follow=true")),
            self.claim(volume, self.victim, "another-class", pod, "theirs"),
            self.claim(volume, self.victim, "another-pods", replace(his, uid=pod.uid)),
        ]
        return [item["metadata"]["name"] for item in made]

    def stolen(self) -> list[Any]:
        """What reached the attacker: his Secret, or an event on his pods; and another class's Secret of the victim."""
        return [*(rig.secret("stolen") for rig in (self.victim, self.attacker)), *self.attacker.listed("events")]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Both pods exist; the attacker's class syncs a Secret."""
    with fake_api_rig(tmp_path) as victim:
        attacker = FakeApiRig(victim.server, tmp_path, "aaa")
        victim.make_class()
        victim.make_class("theirs", secretObjects=[STEAL])
        attacker.make_class("mine", secretObjects=[STEAL])
        for name in (victim.make_pod().name, "nobody-else"):
            his = attacker.make_pod(name, volumes={"secrets": "mine"})
        yield Scene(victim, attacker, victim.make_pod("pod-2"), his)


async def refresh(rig: Rig, volume: Volume, value: str) -> None:
    """A refresh with a new value."""
    rig.provider.put("password", value)
    known = rig.driver.volumes.get(str(volume.target))
    assert known is not None
    known.refreshed_at = None
    await volume.publish()
    assert volume.read() == value.encode()


@pytest.mark.parametrize("ours", [True, False], ids=["record", "go-driver"])
@pytest.mark.parametrize("true_status", [True, False])
def test_forged_status(scene: Scene, ours: bool, true_status: bool) -> None:
    """The volume stays that of its pod, whether this driver or the Go driver mounted it, and whether the true status is
    there: no Secret and no event for the attacker, and the true status is updated, not his."""
    victim = scene.victim

    async def run() -> None:
        async with victim.driver(enable_secret_rotation=True) as rig:
            volume = victim.volume(rig, scene.pod)
            rig.provider.put("password", CANARY)
            await volume.publish()
            await rig.stop()
            if not ours:
                volume.remove_record()
            true = victim.status_path("pod-2")
            if not true_status:
                victim.api.delete(true)
            claims = scene.attack(volume)
            before = {item["metadata"]["name"]: item for item in scene.attacker.listed(STATUSES)}
            await rig.start()
            (known,) = rig.driver.volumes
            await until(lambda: known.recorded is not None, "the restart to be complete")
            expected = (scene.pod, "app") if ours or true_status else (Pod("", "", scene.pod.uid), "")
            assert (known.pod, known.class_ref.name) == expected
            await refresh(rig, volume, f"{CANARY}-2")
            assert (known.pod, known.class_ref.name) == (scene.pod, "app")
            status = victim.api.find(true)
            if status is None:  # a claim holds the name of the true status
                statuses = {item["metadata"]["name"]: item for item in victim.listed(STATUSES)}
                status = statuses[known.status_name]
            assert status["metadata"]["ownerReferences"][0]["uid"] == scene.pod.uid
            assert status["status"]["secretProviderClassName"] == "app"
            assert {item["metadata"]["name"]: item for item in scene.attacker.listed(STATUSES)} == before
            assert len(claims) == 9 and scene.stolen() == [None, None]
            assert CANARY not in str(scene.attacker.listed("secrets"))

    asyncio.run(run())


def test_restart_without_the_api_server(scene: Scene) -> None:
    """The API server is away when the driver restarts: it is ready at once and knows its volumes, with their classes,
    versions and pods; nothing is asked for them when the server is back."""
    victim = scene.victim

    async def run() -> None:
        async with victim.driver() as rig:
            volume = victim.volume(rig, scene.pod)
            await volume.publish()
            (before,) = rig.driver.volumes
            await rig.stop()
            scene.attack(volume)
            mark = victim.server.calls.mark()
            with victim.server.away():
                await rig.start()
                (known,) = rig.driver.volumes
                assert known.details == before.details and known.recorded
                assert rig.driver.health.ready
                await volume.publish()
            await victim.watch_open()
            counted = victim.count(mark)
            assert counted["list", STATUSES] == counted["get", "pods"] == 0

    asyncio.run(run())


def test_a_server_that_never_answers(scene: Scene) -> None:
    """The statuses are needed and the server accepts the call but never answers: the driver is ready nevertheless, and
    publishes other volumes."""
    victim = scene.victim

    async def run() -> None:
        async with victim.driver() as rig:
            volume = victim.volume(rig, scene.pod)
            await volume.publish()
            await rig.stop()
            volume.remove_record()
            rule = victim.server.on("GET", f"{STATUSES}$", Silence())
            await rig.start()
            assert rig.driver.health.ready
            other = victim.volume(rig, victim.make_pod("pod-3"))
            await other.publish()
            assert other.read() == b"s3cret"
            rule.lift()

    asyncio.run(run())


@pytest.mark.timeout(60)
def test_a_flood_of_claims(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The attacker makes hundreds of statuses for a volume of the Go driver, each naming another pod and some of them
    large: the true one is found, few calls run at a time, the log has one line, and a well-behaved pod's publish takes
    as long as ever."""
    victim = scene.victim
    large = {f"object-{number}": "v" * 100 for number in range(2000)}

    async def run() -> None:
        async with victim.driver() as rig:
            volume, other = victim.volume(rig, scene.pod), victim.volume(rig, victim.make_pod("pod-3"))
            await volume.publish()
            quiet = await timed(other)
            await rig.stop()
            volume.remove_record()
            for number in range(300):
                pod = Pod("aaa", f"pod-{number}", scene.pod.uid)
                objects = large if number % 30 == 0 else {}
                claimed = VolumeRecord(pod, ClassRef("aaa", "mine"), volume.name, str(volume.target), objects)
                victim.api.create(pod_status.build_status(claimed, f"claim-{number}", NODE))
            await rig.start()
            attacked = await timed(victim.volume(rig, victim.make_pod("pod-4")))
            known = rig.driver.volumes.get(str(volume.target))
            assert known is not None
            await until(lambda: known.recorded is not None, "the restart to be complete", 40)
            assert (known.pod, known.class_ref.name, known.recorded) == (scene.pod, "app", True)
            print(f"a publish took {quiet * 1000:.0f} ms, and {attacked * 1000:.0f} ms during the attack")
            assert attacked < max(4 * quiet, 1.0)
        warnings = [item for item in caplog.records if "Ignoring pod statuses" in item.getMessage()]
        assert len(warnings) == 1 and scene.stolen() == [None, None]

    asyncio.run(run())


async def timed(volume: Volume) -> float:
    """How long a publish takes, in seconds."""
    started = time.monotonic()
    await volume.publish()
    return time.monotonic() - started
