"""``last-known-good``: what a new pod gets while the provider or its store is away, and above all what it never may."""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from driver.ports import LAST_KNOWN_GOOD_ANNOTATION, REFRESH_ANNOTATION
from runtime import logs
from runtime.timestamps import parse_timestamp
from tests.driver.publish.support import known, make_due
from tests.support.accounts import TOKENS
from tests.support.clocks import clock_set
from tests.support.outage_rig import KNOWN_GOOD, OutageRig, outage_rig, version_of
from tests.support.rig import OBJECTS, Volume
from tests.support.waiting import run_async, until

Change = Callable[[OutageRig], Volume]
AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
ANSWERS = [code for code in grpc.StatusCode if code not in (*AWAY, grpc.StatusCode.OK)]


def pod_status(it: OutageRig, volume: Volume) -> Any:
    """The status in a volume's pod status."""
    path = it.rig.manifests / "podstatuses" / f"{volume.pod_uid}.{volume.name}.yaml"
    return yaml.safe_load(path.read_text())["status"]


async def is_fresh(it: OutageRig, volume: Volume, contents: bytes) -> None:
    """Wait until a volume has this content, and is reported as in order."""
    await until(lambda: volume.read() == contents and known(it.rig, volume).failure is None, "fresh content")


def test_served(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The store is away 42 minutes after a pod's start → the next pod of the class starts with what that one got; pod
    status, event, metrics and /status say so, with the true time; after the return it has the new content at once."""

    async def run() -> None:
        caplog.set_level(logging.INFO)
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            first, second = it.volume("pod-1"), it.volume("pod-2")
            await first.publish()
            await first.unpublish()
            it.pass_time(42 * 60)
            it.away()
            await second.publish()
            assert second.read() == b"s3cret"
            status = pod_status(it, second)
            assert status["objects"] == [{"id": "password", "version": version_of(b"s3cret")}]
            assert status["lastFailure"]["reason"] == "ServedLastKnownGood"
            message = status["lastFailure"]["message"]
            age = re.match(r"serving content that was (fetched 42m(\d+s)? ago), at ", message)
            assert age is not None, message
            assert 'because provider "lab": ' in message and "the store said so" in message
            assert status["conditions"][0]["status"] == "False"
            refreshed = parse_timestamp(status["lastRefresh"])
            failed = parse_timestamp(status["lastFailure"]["time"])
            assert refreshed is not None and failed is not None and 0 <= failed - refreshed - 42 * 60 < 60
            events = [fields for item in caplog.records if (fields := getattr(item, "fields", {})).get("reason")]
            assert [event["reason"] for event in events] == ["ServedLastKnownGood"]
            assert f"volume secrets: serving content that was {age[1]}" in events[0]["message"]
            sample = it.rig.driver.metrics.registry.get_sample_value
            assert sample("secrets_store_last_known_good_total", {"provider": "lab"}) == 1
            assert sample("secrets_store_volumes_last_known_good") == 1
            assert sample("secrets_store_held_replies") == 1 and (sample("secrets_store_held_bytes") or 0) > 6
            [shown] = it.rig.driver.snapshot()["volumes"]
            assert shown["last_known_good"] and age[1] in shown["reason"]

            it.back(b"new")
            await is_fresh(it, second, b"new")
            await until(lambda: "lastFailure" not in pod_status(it, second), "the pod status")
            assert sample("secrets_store_volumes_last_known_good") == 0
            assert not it.rig.driver.snapshot()["volumes"][0]["last_known_good"]

    run_async(run)


@pytest.mark.parametrize("how", ["hangs", "crashed", "no socket"])
def test_kinds_of_absence(tmp_path: Path, how: str) -> None:
    """The store hangs, the provider was killed, or its socket is gone → served within the time that is given, and the
    next pods without waiting again."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-1").publish()
            if how == "hangs":
                it.lab.open.clear()
            else:
                it.served.crash()
            if how == "no socket":
                it.served.path.unlink()
            loop = asyncio.get_running_loop()
            started = loop.time()
            await it.volume("pod-2").publish()
            assert loop.time() - started < 10  # the call has twice that
            volumes = [it.volume(f"pod-{number}") for number in range(3, 9)]
            started, calls = loop.time(), it.calls
            await asyncio.gather(*(volume.publish() for volume in volumes))
            assert loop.time() - started < 10 and it.calls <= calls + 3
            assert {volume.read() for volume in volumes} == {b"s3cret"}

    run_async(run)


def _class(it: OutageRig, **spec: Any) -> Volume:
    it.write_class(KNOWN_GOOD, **spec)
    return it.volume("pod-2")


def _other_namespace(it: OutageRig) -> Volume:
    it.rig.write_class("app", "other", provider="lab", annotations=KNOWN_GOOD)
    return it.volume("pod-2", namespace="other")


def _annotated(it: OutageRig, **annotations: str) -> Volume:
    it.write_class({f"secrets-store.csi.k8s.io/{key.replace('_', '-')}": text for key, text in annotations.items()})
    return it.volume("pod-2")


def _recreated(it: OutageRig) -> Volume:
    path = it.rig.manifests / "default.app.yaml"
    document = yaml.safe_load(path.read_text())
    document["metadata"]["uid"] = "the-uid-of-another-one"
    path.write_text(yaml.safe_dump(document))
    return it.volume("pod-2")


OTHERS: dict[str, Change] = {
    "service account": lambda it: it.volume("pod-2", account="other"),
    "UID of the account": lambda it: it.volume(
        "pod-2", claims={"serviceaccount": {"name": "default", "uid": "uid-of-one-created-anew"}}
    ),
    "namespace": _other_namespace,
    "class": lambda it: _class(it, name="twin") and it.volume("pod-2", class_name="twin"),
    "UID of the class": _recreated,
    "parameters": lambda it: _class(it, parameters={"objects": OBJECTS, "role": "other"}),
    "secretObjects": lambda it: _class(
        it,
        secretObjects=[{"secretName": "app", "type": "Opaque", "data": [{"objectName": "password", "key": "key"}]}],
    ),
    "files": lambda it: _class(
        it, files=[{"path": "all.json", "format": "json", "objects": [{"objectName": "password", "key": "p"}]}]
    ),
    "refresh annotation": lambda it: _annotated(it, last_known_good="6h", refresh="now"),
    "no annotation": lambda it: _annotated(it),
    "invalid annotation": lambda it: _annotated(it, last_known_good="for ever"),
    "nodePublishSecretRef": lambda it: it.volume("pod-2", secrets={"clientid": "other"}),
    "fsGroup": lambda it: it.volume("pod-2", group="2000"),
    "volumeAttributes": lambda it: it.volume("pod-2", attributes={"tenant": "other"}),
    "audience": lambda it: it.volume("pod-2", audiences=("vault", "other")),
    "no token": lambda it: it.rig.volume("pod-2"),
    "token of another pod": lambda it: it.volume("pod-2", claims={"pod": {"name": "pod-1", "uid": "uid-pod-1"}}),
    "token of another namespace": lambda it: it.volume("pod-2", claims={"namespace": "other"}),
}


@pytest.mark.parametrize("what", OTHERS)
def test_never_for_another(tmp_path: Path, what: str) -> None:
    """The store is away, and the pod that starts differs from the earlier one in anything that may matter, or its class
    has changed → it does not start, and nothing stays mounted."""

    async def run() -> None:
        async with outage_rig(tmp_path, apply_volume_mount_group=True) as it:
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-1").publish()
            it.away()
            volume = OTHERS[what](it)
            code, text = await volume.failure()
            assert code == grpc.StatusCode.UNAVAILABLE and "the store said so" in text
            assert not volume.mounted

    run_async(run)


def test_the_same_is_served(tmp_path: Path) -> None:
    """What may differ: name and UID of the pod, target path, the token itself, an annotation about something else →
    served. Without this, the test above would show nothing."""

    async def run() -> None:
        async with outage_rig(tmp_path, apply_volume_mount_group=True) as it:
            options: dict[str, Any] = {"group": "2000", "secrets": {"a": "b"}, "attributes": {"tenant": "t"}}
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-1", **options).publish()
            it.away()
            it.write_class({**KNOWN_GOOD, "secrets-store.csi.k8s.io/rotation-poll-interval": "5m"})
            volume = it.volume("pod-2", name="other-volume", **options)
            await volume.publish()
            assert volume.read() == b"s3cret"

    run_async(run)


@pytest.mark.parametrize("code", ANSWERS, ids=lambda code: code.name)
def test_never_after_an_answer(tmp_path: Path, code: grpc.StatusCode) -> None:
    """The store answers, with whatever code → its answer is the pod's; and after a refusal nothing is held any more for
    this account, for whichever kind of pod, also when the store is away then."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-1").publish()
            await it.volume("pod-1b", attributes={"tenant": "t"}).publish()
            it.refuse(code)
            found, text = await it.volume("pod-2").failure()
            assert found == code and "the store said so" in text
            it.away()
            asks_again = {"CANCELLED", "RESOURCE_EXHAUSTED", "ABORTED"}
            for number, attributes in enumerate([{}, {"tenant": "t"}]):
                volume = it.volume(f"pod-3{number}", attributes=attributes)
                if code.name in asks_again:
                    await volume.publish()
                    assert volume.read() == b"s3cret"
                else:
                    assert (await volume.failure())[0] == grpc.StatusCode.UNAVAILABLE

    run_async(run)


def test_never_after_an_answer_while_it_was_away(tmp_path: Path) -> None:
    """A pod was served while the store was away; now the store answers, that it has too much to do → the next pod gets
    that answer, and not what is held."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-1").publish()
            it.away()
            await it.volume("pod-2").publish()
            away = it.rig.driver.publish_path.replies._stale.away
            assert away
            it.refuse(grpc.StatusCode.RESOURCE_EXHAUSTED)
            await until(lambda: not away, "the asker to hear of it")
            assert (await it.volume("pod-3").failure())[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
            it.away()
            await it.volume("pod-4").publish()

    run_async(run)


def test_a_refused_refresh_counts(tmp_path: Path) -> None:
    """The store refuses the account when a mounted volume is refreshed, and is away then → a new pod does not start."""

    async def run() -> None:
        async with outage_rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(KNOWN_GOOD)
            first = it.volume("pod-1")
            await first.publish()
            make_due(it.rig, first)
            it.refuse(grpc.StatusCode.PERMISSION_DENIED)
            await first.publish()
            it.away()
            assert (await it.volume("pod-2").failure())[0] == grpc.StatusCode.UNAVAILABLE

    run_async(run)


@pytest.mark.parametrize("age, served", [(6 * 3600 - 60, True), (6 * 3600 + 1, False)])
@pytest.mark.parametrize("wall_clock", [0.0, 24.0, -24.0])
def test_never_older_than_allowed(tmp_path: Path, age: float, served: bool, wall_clock: float) -> None:
    """The content is as old as the annotation allows, or older, by the clock that goes on while the machine sleeps; the
    wall clock jumps by a day meanwhile → only the former decides, and the metric has the true age."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-1").publish()
            it.away()
            it.pass_time(age)
            volume = it.volume("pod-2")
            with clock_set(wall_clock):
                if served:
                    await volume.publish()
                    labels = {"namespace": "default", "pod": "pod-2", "volume": "secrets", "provider": "lab"}
                    found = it.rig.driver.metrics.registry.get_sample_value("secrets_store_volume_age_seconds", labels)
                    assert found is not None and age <= found < age + 60
                else:
                    assert (await volume.failure())[0] == grpc.StatusCode.UNAVAILABLE

    run_async(run)


def test_what_is_too_old_leaves_the_memory(tmp_path: Path) -> None:
    """Nobody asks for the class any more → what was held of it is forgotten when it is too old."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class({LAST_KNOWN_GOOD_ANNOTATION: "1s"})
            await it.volume("pod-1").publish()
            held = it.rig.driver.publish_path.held
            assert len(held) == 1
            await until(lambda: len(held) == 0, "it to be forgotten")

    run_async(run)


def test_never_after_a_restart(tmp_path: Path) -> None:
    """The driver restarts during the outage → a new pod does not start, and a volume that was served before keeps its
    content; rotation refreshes it when the store is back."""

    async def run() -> None:
        async with outage_rig(tmp_path, enable_secret_rotation=True) as it:
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-1").publish()
            it.pass_time(600)
            it.away()
            served = it.volume("pod-2")
            await served.publish()
            await it.rig.restart()
            state = known(it.rig, served)
            assert state.failure is not None and state.failure.reason == "ServedLastKnownGood"
            assert (await it.volume("pod-3").failure())[0] == grpc.StatusCode.UNAVAILABLE
            it.back()
            await served.publish()
            assert served.read() == b"new" and known(it.rig, served).failure is None

    run_async(run)


def test_a_provider_that_writes_the_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The provider replies without files → nothing is held, which an event says once; a new pod does not start."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            it.lab.writes = True
            for pod in ("pod-1", "pod-2"):
                await it.volume(pod).publish()
            said = [
                fields["message"]
                for item in caplog.records
                if (fields := getattr(item, "fields", {})).get("reason") == "AnnotationIgnored"
            ]
            assert len(said) == 1 and "the provider writes the files to the volume itself" in said[0]
            assert len(it.rig.driver.publish_path.held) == 0
            it.away()
            assert (await it.volume("pod-3").failure())[0] == grpc.StatusCode.UNAVAILABLE

    run_async(run)


def test_annotations_that_have_no_effect(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A token is missing, or an annotation is invalid → the pod starts as without the annotation, and an event says
    what to do."""

    def said(reason: str) -> list[str]:
        found = [getattr(item, "fields", {}) for item in caplog.records]
        return [fields["message"] for fields in found if fields.get("reason") == reason]

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            await it.rig.volume("pod-1").publish()
            assert len(said("AnnotationIgnored")) == 1 and "set tokenRequests" in said("AnnotationIgnored")[0]
            it.write_class({LAST_KNOWN_GOOD_ANNOTATION: "for ever", REFRESH_ANNOTATION: "1"})
            await it.volume("pod-2").publish()
            [message] = said("InvalidAnnotation")
            assert f"annotation {LAST_KNOWN_GOOD_ANNOTATION}: want a duration such as" in message

    run_async(run)


def test_the_reason_is_the_stores(tmp_path: Path) -> None:
    """The store is away, and the repetition of the call is cut short by the time that a new pod waits → the status says
    what the provider said of the store, not that time has passed."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-1").publish()
            it.away()
            calls, volume = it.calls, it.volume("pod-2")
            publish = asyncio.create_task(volume.publish())
            await it.served.wait_for_calls(calls + 2)  # so one has failed
            it.lab.open.clear()
            await publish
            assert 'because provider "lab": the store said so' in pod_status(it, volume)["lastFailure"]["message"]

    run_async(run)


def test_nothing_leaks(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """The provider's error quotes what it is sent and what it once replied with → neither event, pod status, log nor
    /status has the token or the content, at the highest verbosity."""
    texts: list[str] = []
    log: list[str] = []

    def printed() -> str:
        log.extend(capfd.readouterr())
        return "".join(log)

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            it.lab.contents = b"the-content-of-the-store"
            await it.volume("pod-1").publish()
            volume = it.volume("pod-2")
            token = json.loads(volume.attributes[TOKENS])["vault"]["token"]
            it.lab.quote = f"token {token}, content the-content-of-the-store"
            it.away()
            await volume.publish()
            await until(lambda: "The provider is still away" in printed(), "the asker")
            texts.extend([token, str(pod_status(it, volume)), json.dumps(it.rig.driver.snapshot())])

    logs.configure("driver", as_json=False, verbosity=10)
    try:
        with caplog.at_level(logging.DEBUG):
            run_async(run)
    finally:
        logs.configure("driver", as_json=False, verbosity=0)
    token = texts.pop(0)
    text = "\n".join([*texts, printed(), caplog.text])
    assert "serving content" in text and "The provider is still away" in text and "NodePublishVolume" in text
    assert token not in text and token.split(".")[1] not in text and "the-content-of" not in text


def test_a_retry_after_the_pod_status_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content is served and committed, but the pod status cannot be written → kubelet's next call succeeds, though
    the store is still away."""

    async def run() -> None:
        async with outage_rig(tmp_path) as it:
            it.write_class(KNOWN_GOOD)
            await it.volume("pod-1").publish()
            it.away()
            volume = it.volume("pod-2")
            with monkeypatch.context() as patch:
                patch.setattr(it.rig.driver.backend.cluster, "_write", _fails)
                code, text = await volume.failure()
            assert code == grpc.StatusCode.UNAVAILABLE and "pod status" in text
            await volume.publish()
            assert volume.read() == b"s3cret" and known(it.rig, volume).recorded
            it.back()
            await is_fresh(it, volume, b"new")

    run_async(run)


def _fails(*_: object) -> str:
    raise OSError(5, "no disk")
