"""Volumes with last known good content get fresh content when the provider is back."""

import asyncio
from pathlib import Path

import grpc
import pytest

from driver.publish import renewals
from tests.driver.publish.fetching.test_known_good import is_fresh, pod_status
from tests.driver.publish.support import known
from tests.support.outage_rig import KNOWN_GOOD, outage_rig
from tests.support.waiting import run_async, until


def test_one_call_for_all(tmp_path: Path) -> None:
    """Twenty pods started during an outage of 20 calls' time → few calls meanwhile, whatever the number of pods, and
    one of them brings the fresh content for all; then nobody asks any more."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-0").publish()
            it.away()
            volumes = [it.volume(f"pod-{number}") for number in range(1, 21)]
            await volumes[0].publish()
            before = it.calls
            await asyncio.gather(*(volume.publish() for volume in volumes[1:]))
            await until(lambda: it.calls >= before + 5, "the asker")
            before = it.calls
            it.back()
            for volume in volumes:
                await is_fresh(it, volume, b"new")
            # The pool repeats a call that finds the store away.
            assert it.calls <= before + 4
            await until(lambda: not it.rig.driver.publish_path.renewals._askers, "the asker to end")
            assert {pod_status(it, volume)["conditions"][0]["status"] for volume in volumes} == {"True"}

    run_async(run)


def test_a_hanging_call_does_not_hold_up_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store hangs, and when it is back the calls made before still hang → the next call brings the content; not
    more calls than allowed were in progress."""
    monkeypatch.setattr(renewals, "TRY_SECONDS", 3.0)  # as many as allowed may hang before the store is back

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-0").publish()
            stuck = it.lab.open
            stuck.clear()
            volume = it.volume("pod-1")
            await volume.publish()
            before = it.calls
            await until(lambda: it.calls >= before + 2, "the asker's calls")
            assert it.calls <= before + renewals.MAX_TRIES
            it.lab.open = asyncio.Event()
            it.back()
            await is_fresh(it, volume, b"new")
            assert not stuck.is_set()
            stuck.set()

    run_async(run)


def test_ends_with_the_last_volume(tmp_path: Path) -> None:
    """The pods that wait are deleted → nobody asks any more, and the next pod asks for itself."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            volume = await it.stale_volume()
            await volume.unpublish()
            path = it.rig.driver.publish_path
            await until(lambda: not path.renewals._askers, "the asker to end")
            before = it.calls
            await it.volume("pod-2").publish()
            assert it.calls > before

    run_async(run)


def test_republish_brings_tokens_and_no_call(tmp_path: Path) -> None:
    """Kubelet republishes a volume that waits → no call of its own; the asker uses the new token."""

    async def run() -> None:
        async with outage_rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(KNOWN_GOOD)
            volume = await it.stale_volume()
            with_new = it.volume("pod-1", claims={"warnafter": 1})
            await with_new.publish()
            failure = known(it.rig, volume).failure
            assert failure is not None and failure.count == 1
            tokens = with_new.attributes["csi.storage.k8s.io/serviceAccount.tokens"]

            def used() -> bool:
                request = it.served.last_request
                return request is not None and request.attributes["csi.storage.k8s.io/serviceAccount.tokens"] == tokens

            await until(used, "the new token")

    run_async(run)


def test_refused_after_the_return(tmp_path: Path) -> None:
    """The store is back and refuses the account → the pod keeps its content, its status says what the store says, and
    no new pod gets anything; when it allows it again the content is fresh."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            volume = await it.stale_volume()
            it.refuse(grpc.StatusCode.PERMISSION_DENIED)
            held = it.rig.driver.publish_path.held
            await until(lambda: not len(held), "the refusal")
            it.away()
            assert (await it.volume("pod-2").failure())[0] == grpc.StatusCode.UNAVAILABLE
            assert volume.read() == b"s3cret"
            it.back()
            await is_fresh(it, volume, b"new")

    run_async(run)


def test_expired_token(tmp_path: Path) -> None:
    """The tokens that the volumes have are expired and nobody brings new ones → the store is not asked with them, as
    its refusal would count as an answer."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            renewals.FIRST_PAUSE = 2.0  # no call before the tokens are too old; the rig restores it
            await it.stale_volume(lifetime=-1.0)
            it.pass_time(renewals.TOKEN_SECONDS + 1)
            await until(lambda: not it.rig.driver.publish_path.renewals._stale.away, "the asker to notice")
            before = it.calls
            await asyncio.sleep(0.5)  # no condition can show that nothing happens
            assert it.calls == before

    run_async(run)


def test_class_changed_during_the_outage(tmp_path: Path) -> None:
    """The class changes while its volumes wait → when the store is back they get the content of the class as it is, by
    one call as before; kubelet's republish makes no calls meanwhile."""

    async def run() -> None:
        async with outage_rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-0").publish()
            it.away()
            volumes = [it.volume(f"pod-{number}") for number in range(1, 11)]
            for volume in volumes:
                await volume.publish()
            it.write_class(KNOWN_GOOD, parameters={"objects": "- objectName: password", "role": "new"})
            for volume in volumes:
                await volume.publish()
            await until(lambda: it.served.requests[-1].attributes.get("role") == "new", "its asker")
            before = it.calls
            it.back()
            for volume in volumes:
                await is_fresh(it, volume, b"new")
            assert it.served.requests[-1].attributes["role"] == "new"
            assert it.calls < before + len(volumes)

    run_async(run)


def test_annotation_removed_during_the_outage(tmp_path: Path) -> None:
    """The class loses its annotation while its volumes wait → they keep their content, nobody asks in the background,
    and rotation refreshes each when the store is back."""

    async def run() -> None:
        async with outage_rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(KNOWN_GOOD)
            volume = await it.stale_volume()
            it.write_class({})
            await until(lambda: not known(it.rig, volume).stale, "the asker to notice")
            await until(lambda: not it.rig.driver.publish_path.renewals._askers, "the asker to end")
            assert volume.read() == b"s3cret" and known(it.rig, volume).failure is not None
            it.back()
            known(it.rig, volume).retry_at = 0.0
            await volume.publish()
            await is_fresh(it, volume, b"new")

    run_async(run)
