"""Events on pods: one object per series, with a count; recording never blocks, and each event is also logged."""

import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from driver import limits
from driver.cluster import events
from driver.cluster.api import Api
from driver.cluster.event_rate import SUPPRESSED, EventRate
from driver.cluster.events import EventRecorder
from driver.ports import Pod, PodEvent
from tests.driver.cluster.connecting import run
from tests.support.background import running
from tests.support.fake_api import Answer
from tests.support.fake_api_rig import FakeApiRig
from tests.support.rig import NODE
from tests.support.waiting import until

POD = Pod("default", "pod-1", "uid-1")
WARNING = PodEvent(POD, True, "FailedToCreateSecret", "no file", "synced")
Test = Callable[[EventRecorder], Coroutine[Any, Any, None]]


def run_recorder(rig: FakeApiRig, test: Test) -> None:
    """Run a test with a recorder that sends."""

    async def with_recorder(api: Api) -> None:
        recorder = EventRecorder(api, NODE)
        async with running(recorder.run()):
            await test(recorder)

    run(rig.kubeconfig(), with_recorder)


def counts(rig: FakeApiRig) -> list[tuple[str, str, int]]:
    """Reason, message and count of each series."""
    return sorted((item["reason"], item["message"], item["count"]) for item in rig.events())


def test_event(rig: FakeApiRig) -> None:
    """Record an event → an Event with pod, reason, source and timestamps."""

    async def test(recorder: EventRecorder) -> None:
        recorder.put(WARNING)
        await until(rig.events, "the event")
        (found,) = rig.events()
        about = {"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "pod-1", "uid": "uid-1"}
        assert found["involvedObject"] == about and found["type"] == "Warning"
        assert found["source"] == {"component": "secrets-store-csi-driver", "host": NODE}
        assert found["firstTimestamp"] == found["lastTimestamp"] and found["count"] == 1

    run_recorder(rig, test)


def _is_counted(rig: FakeApiRig, count: int) -> bool:
    return [found for *_, found in counts(rig)] == [count]


@pytest.mark.parametrize("hidden", ["\x1b[2J", "\n", "\u202e", "\x9b", "\u2028", "\u200b" * 2000])
def test_what_people_read_has_no_invisible_characters(rig: FakeApiRig, hidden: str) -> None:
    """A message quotes a name of others that moves the cursor or is invisible → the Event has the text without it, the
    first time and the next."""

    async def test(recorder: EventRecorder) -> None:
        for count in (1, 2):
            recorder.put(PodEvent(POD, True, "FailedToCreateSecret", f"file {hidden} is not there", "synced"))
            await until(partial(_is_counted, rig, count), "the event")
            ((_, message, _),) = counts(rig)
            assert hidden not in message and message.startswith("file ") and message.endswith("is not there")

    run_recorder(rig, test)


def test_series(rig: FakeApiRig) -> None:
    """Record an event three times, the last time with another message → one Event with count 3 and the last message.
    Another subject, reason or pod → another Event."""

    async def test(recorder: EventRecorder) -> None:
        recorder.put(WARNING)
        recorder.put(WARNING)
        recorder.put(PodEvent(POD, True, WARNING.reason, "no key", WARNING.subject))
        recorder.put(PodEvent(POD, True, WARNING.reason, "other", "another"))
        recorder.put(PodEvent(POD, False, "SyncedSecret", "again", WARNING.subject))
        recorder.put(PodEvent(Pod("default", "pod-1", "uid-2"), True, WARNING.reason, "new pod", WARNING.subject))
        expected = [
            (WARNING.reason, "new pod", 1),
            (WARNING.reason, "no key", 3),
            (WARNING.reason, "other", 1),
            ("SyncedSecret", "again", 1),
        ]
        await until(lambda: counts(rig) == expected, "all series")

    run_recorder(rig, test)


def test_series_after_a_restart(rig: FakeApiRig) -> None:
    """A new recorder repeats an event of the former one → the same Event is counted on."""

    async def test(recorder: EventRecorder) -> None:
        recorder.put(WARNING)
        recorder.put(WARNING)
        await until(lambda: [item["count"] for item in rig.events()] == [2], "the count")

    async def again(recorder: EventRecorder) -> None:
        recorder.put(WARNING)
        recorder.put(WARNING)
        await until(lambda: [item["count"] for item in rig.events()] == [4], "the count")

    run_recorder(rig, test)
    run_recorder(rig, again)


@pytest.mark.parametrize("repeats", [1, 2])
def test_first_repeat_after_a_restart(rig: FakeApiRig, repeats: int) -> None:
    """A new recorder repeats an event of the former one once or twice → each repeat is in the count at once."""

    async def test(recorder: EventRecorder) -> None:
        for number in range(1, repeats + 1):
            recorder.put(WARNING)
            await until(partial(counted, formers + number), "the count")

    def counted(count: int) -> bool:
        return [item["count"] for item in rig.events()] == [count]

    formers = 0
    run_recorder(rig, test)
    formers = repeats
    run_recorder(rig, test)


def test_expired_series(rig: FakeApiRig) -> None:
    """The Event has expired on the server → the next one creates it again."""

    async def test(recorder: EventRecorder) -> None:
        recorder.put(WARNING)
        await until(rig.events, "the event")
        (found,) = rig.events()
        rig.api.delete(rig.path("events", found["metadata"]["name"]))
        recorder.put(WARNING)
        await until(lambda: [item["count"] for item in rig.events()] == [1], "a new one")

    run_recorder(rig, test)


@pytest.mark.parametrize("name", ["p", "a" * 253, ("a" * 229 + ".-").ljust(250, "b")])
def test_long_names_and_messages(rig: FakeApiRig, name: str) -> None:
    """A long pod name and message → a valid name, and the message is cut at the server's limit."""

    async def test(recorder: EventRecorder) -> None:
        recorder.put(PodEvent(Pod("default", name, "uid"), True, "Reason", "m" * 5000, "subject"))
        await until(rig.events, "the event")
        assert len(rig.events()[0]["message"]) == 1024

    run_recorder(rig, test)


def test_pod_without_a_name(rig: FakeApiRig, caplog: pytest.LogCaptureFixture) -> None:
    """Only the pod's UID is known, as after a restart → the event is logged but not sent."""

    async def test(recorder: EventRecorder) -> None:
        recorder.put(PodEvent(Pod("", "", "uid"), True, "Reason", "nameless"))
        recorder.put(WARNING)
        await until(rig.events, "the other event")
        assert rig.count() == {("create", "events"): 1}

    with caplog.at_level(logging.INFO):
        run_recorder(rig, test)
    assert len([record for record in caplog.records if record.getMessage() == "Event"]) == 2


@pytest.mark.parametrize("away", [True, False], ids=["away", "forbidden"])
def test_event_cannot_be_sent(
    rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, away: bool
) -> None:
    """The server is unavailable or rejects an event → a warning; later events are sent."""
    monkeypatch.setattr(events, "SEND_SECONDS", 0.3)

    async def test(recorder: EventRecorder) -> None:
        rule = rig.server.on("POST", "events", Answer(503 if away else 403))
        recorder.put(WARNING)
        await until(lambda: "An event could not be sent" in caplog.text, "the warning")
        rule.lift()
        recorder.put(PodEvent(POD, False, "Later", "on"))
        await until(lambda: counts(rig) == [("Later", "on", 1)], "the next one")

    run_recorder(rig, test)


def test_queue_is_full(rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Record four times the events that the queue takes, at a rate that is allowed → no waiting; the queue's capacity
    is sent, and all are logged."""
    monkeypatch.setattr(events, "MAX_QUEUED", 25)
    for bound in ("POD_EVENTS_BURST", "NODE_EVENTS_BURST", "NAMESPACE_EVENTS_BURST"):
        monkeypatch.setattr(limits, bound, 200)

    async def test(recorder: EventRecorder) -> None:
        for number in range(100):
            recorder.put(PodEvent(POD, True, "Reason", "m", f"subject-{number}"))
        await until(lambda: len(rig.events()) == 25, "those that were kept")
        recorder.put(WARNING)
        await until(lambda: rig.events(WARNING.reason), "one more")
        assert len(rig.events()) == 26

    with caplog.at_level(logging.WARNING):
        run_recorder(rig, test)
    assert sum(record.getMessage() == "Event" for record in caplog.records) == 101


def test_counts_are_bounded(rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record more series than are remembered → a forgotten one is found on the server and counted on."""
    monkeypatch.setattr(events, "MAX_SERIES", 2)

    async def test(recorder: EventRecorder) -> None:
        for subject in ("a", "b", "c", "a", "a"):
            recorder.put(PodEvent(POD, True, "Reason", subject, subject))
        await until(lambda: counts(rig) == [("Reason", "a", 3), ("Reason", "b", 1), ("Reason", "c", 1)], "all")

    run_recorder(rig, test)


def test_flood_of_one_pod(rig: FakeApiRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A pod has 6,000 events, as for a class with as many secretObjects → its burst is sent, and one event that counts
    the rest; another pod's event comes through; the log has all."""
    monkeypatch.setattr(limits, "EVENT_SUMMARY_SECONDS", 0.5)

    async def test(recorder: EventRecorder) -> None:
        for number in range(6000):
            recorder.put(PodEvent(POD, True, WARNING.reason, "m", f"secret-{number}"))
        recorder.put(PodEvent(Pod("default", "pod-2", "uid-2"), True, "Other", "comes through"))
        await until(lambda: rig.events("Other"), "the other pod's event")
        await until(lambda: rig.events(SUPPRESSED), "the summary")
        assert len(rig.events(WARNING.reason)) == limits.POD_EVENTS_BURST
        (found,) = rig.events(SUPPRESSED)
        assert found["involvedObject"]["name"] == "pod-1"
        assert f"{6000 - limits.POD_EVENTS_BURST} more events" in found["message"]

    with caplog.at_level(logging.WARNING):
        run_recorder(rig, test)
    assert sum(record.getMessage() == "Event" for record in caplog.records) == 6001


def test_flood_of_many_pods() -> None:
    """Thousands of pods of many namespaces have events → the node's burst and rate hold, and so does what is
    remembered; afterwards a pod has its events again."""
    now = 0.0
    rate = EventRate(lambda: now)
    sent = sum(rate.allows(Pod(f"ns-{number}", f"pod-{number}", f"uid-{number}")) for number in range(5000))
    assert sent == limits.NODE_EVENTS_BURST
    assert len(rate._pods) == len(rate._namespaces) == len(rate._suppressed) == limits.MAX_EVENT_PODS
    assert len(rate.summaries()) == limits.MAX_EVENT_SUMMARIES
    now = 10.0
    assert sum(rate.allows(Pod(f"late-{number}", "pod", f"late-{number}")) for number in range(100)) == 10
    now = 10_000.0
    assert sum(rate.allows(POD) for _ in range(100)) == limits.POD_EVENTS_BURST
    now += limits.POD_EVENTS_SECONDS
    assert [rate.allows(POD), rate.allows(POD)] == [True, False]


@pytest.mark.parametrize("pods", [12, 60, 1000])
@pytest.mark.parametrize("seconds", [0.0, 600.0, 86_400.0])
def test_flood_of_one_namespace(pods: int, seconds: float) -> None:
    """Many pods, or SecretSyncs, of one namespace have more and more events, for a moment or for a day → the namespace
    has its burst and its rate, and all first events of another namespace's pods come through."""
    now = 0.0
    rate = EventRate(lambda: now)
    sent = 0
    for moment in range(50):
        now = seconds * moment / 50
        for number in range(pods * (limits.POD_EVENTS_BURST if moment == 0 else 1)):
            sent += rate.allows(Pod("many", f"pod-{number % pods}", f"uid-{number % pods}"))
    assert sent <= limits.NAMESPACE_EVENTS_BURST + seconds / limits.NAMESPACE_EVENTS_SECONDS
    assert all(rate.allows(Pod("other", f"pod-{number}", f"other-{number}")) for number in range(50))
