"""When a restart is asked for: a whole driver with manifests, and workloads that record what they are asked."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from driver.objects.volume_details import VolumeDetails, decode
from driver.objects.workloads import versions_digest
from driver.ports import (
    RESTART_ANNOTATION,
    RESTART_INTERVAL_ANNOTATION,
    ClassRef,
    Pod,
    PodEvent,
    Restart,
    RestartResult,
)
from driver.publish.restarts import is_asked_for
from driver.publish.schedule import interval_of
from driver.registry import Volume as State
from tests.driver.publish.support import known, make_due
from tests.support.rig import Rig, Volume, rig
from tests.support.waiting import until

ON = {RESTART_ANNOTATION: "true", RESTART_INTERVAL_ANNOTATION: "90s"}


@dataclass
class Workloads:
    """Records what it is asked; ``result`` is its answer, ``away`` is set while it does not answer."""

    result: RestartResult = field(default_factory=lambda: RestartResult(restarted=True, message="web is restarted"))
    asked: list[Restart] = field(default_factory=list)
    away: bool = False

    async def restart(self, request: Restart) -> RestartResult:
        """As the real one."""
        self.asked.append(request)
        if self.away:
            raise TimeoutError
        return self.result


@dataclass
class Setting:
    """A driver with one volume, whose class asks for restarts."""

    rig: Rig
    volume: Volume
    workloads: Workloads
    events: list[PodEvent]

    @property
    def state(self) -> State:
        """What the driver knows of the volume."""
        return known(self.rig, self.volume)

    @property
    def said(self) -> list[str]:
        """The reasons of the events so far."""
        return [event.reason for event in self.events if event.reason.startswith("Workload")]

    async def rotate(self, value: str) -> None:
        """A refresh finds another value; what was to be asked has been."""
        self.rig.provider.put("password", value)
        make_due(self.rig, self.volume)
        await self.republish()

    async def republish(self) -> None:
        """Kubelet asks again."""
        await self.volume.publish()
        await until(lambda: not self.rig.driver.publish_path.restarts.busy, "the requests")


Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a test with a class that has these annotations."""

    def with_setting(test: Callable[[Setting], Coroutine[Any, Any, None]], annotations: dict[str, str] = ON) -> None:
        async def running() -> None:
            async with rig(tmp_path, enable_secret_rotation=True) as it:
                made = Setting(it, it.volume(), Workloads(), [])

                async def event(event: PodEvent) -> None:
                    made.events.append(event)

                monkeypatch.setattr(it.driver.publish_path.restarts, "_workloads", made.workloads)
                monkeypatch.setattr(it.driver.backend.cluster, "event", event)
                it.write_class(annotations=annotations)
                await made.volume.publish()
                await test(made)

        asyncio.run(running())

    return with_setting


def test_a_rotation(run: Run) -> None:
    """The first publish and a refresh that finds nothing new ask for nothing; a rotation does, once, with the versions
    before and after and the class's interval."""

    async def test(it: Setting) -> None:
        former = dict(it.state.objects)
        make_due(it.rig, it.volume)
        await it.republish()
        assert it.workloads.asked == []
        await it.rotate("new")
        await it.republish()
        (asked,) = it.workloads.asked
        assert asked.objects == it.state.objects != former
        assert (asked.before, asked.interval, asked.volume_name) == ((versions_digest(former),), 90.0, "secrets")
        assert it.said == ["WorkloadRestarted"] and it.state.restart.former == ()

    run(test)


@pytest.mark.parametrize("away", [True, False])
def test_it_is_asked_for_again(run: Run, away: bool) -> None:
    """The API server is away, or it is too early → asked for again with a republish, when the time has come; a second
    rotation meanwhile adds its former versions."""

    async def test(it: Setting) -> None:
        it.workloads.away = away
        it.workloads.result = RestartResult(message="too early", retry_after=3600.0)
        await it.rotate("one")
        await it.republish()
        assert len(it.workloads.asked) == (2 if away else 1) and len(it.state.restart.former) == 1
        await it.rotate("two")
        assert len(it.workloads.asked[-1].before) == 2
        it.workloads.away, it.workloads.result = False, RestartResult(restarted=True, message="done")
        it.state.restart.not_before = 0.0
        await it.republish()
        assert not known(it.rig, it.volume).restart.former and it.said[-1] == "WorkloadRestarted"
        assert it.said.count("WorkloadNotRestarted") == (0 if away else 1), "once for each message"

    run(test)


def test_it_survives_a_restart(run: Run) -> None:
    """The driver ends before it could ask → the next one knows."""

    async def test(it: Setting) -> None:
        it.workloads.away = True
        await it.rotate("one")
        former = it.state.restart.former
        await it.rig.restart()
        assert former and it.state.restart.former == former

    run(test)


def test_the_class_has_changed_its_mind(run: Run) -> None:
    """It does not ask for restarts any more → what was wanted is forgotten."""

    async def test(it: Setting) -> None:
        it.workloads.away = True
        await it.rotate("one")
        it.rig.write_class(annotations={})
        await it.republish()
        assert it.state.restart.former == () and len(it.workloads.asked) == 1

    run(test)


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({}, []),
        ({RESTART_ANNOTATION: "false"}, []),
        ({RESTART_ANNOTATION: "yes"}, ["WorkloadNotRestarted"]),
        ({RESTART_INTERVAL_ANNOTATION: "10m"}, ["WorkloadNotRestarted"]),
    ],
)
def test_other_classes(run: Run, annotations: dict[str, str], said: list[str]) -> None:
    """Nothing is asked for; annotations from which it is not clear whether they ask for restarts are an event."""

    async def test(it: Setting) -> None:
        await it.rotate("new")
        assert it.workloads.asked == [] and it.said == said

    run(test, annotations)


@pytest.mark.parametrize(
    "asked", ["", "yes", "TRUE", "True", " true", "true ", "1", "on", '"true"', "enabled", "always"]
)
def test_an_unclear_annotation(asked: str) -> None:
    """Neither true nor false → a sentence that names the annotation and both values."""
    with pytest.raises(ValueError, match=f'annotation {RESTART_ANNOTATION}: it must be "true" or "false"'):
        is_asked_for({RESTART_ANNOTATION: asked})


def test_an_interval_alone() -> None:
    """The shortest interval without the annotation that asks for restarts → a sentence with what is missing; with one
    that turns them off it is no mistake."""
    with pytest.raises(ValueError, match=f'has no effect without {RESTART_ANNOTATION}: "true"'):
        is_asked_for({RESTART_INTERVAL_ANNOTATION: "10m"})
    assert not is_asked_for({RESTART_INTERVAL_ANNOTATION: "10m", RESTART_ANNOTATION: "false"})
    assert is_asked_for(ON) and not is_asked_for({})


@pytest.mark.parametrize(
    "interval", ["10", "1d", "10M", "PT10M", "1,5m", "inf", "ten minutes", "0s", "-5m", "500ms", ""]
)
def test_the_interval_must_be_a_duration(interval: str) -> None:
    """An interval that is no duration of Go, or too short → a sentence that names the annotation."""
    with pytest.raises(ValueError, match=f"annotation {RESTART_INTERVAL_ANNOTATION}: "):
        interval_of({RESTART_INTERVAL_ANNOTATION: interval}, 600.0, RESTART_INTERVAL_ANNOTATION)


@pytest.mark.parametrize("interval", ["ten minutes", "0s"])
def test_a_wrong_interval(run: Run, interval: str) -> None:
    """The default applies, and an event says so."""

    async def test(it: Setting) -> None:
        await it.rotate("new")
        assert [request.interval for request in it.workloads.asked] == [600.0]
        assert it.said == ["WorkloadNotRestarted", "WorkloadRestarted"]
        assert RESTART_INTERVAL_ANNOTATION in it.events[-2].message

    run(test, {**ON, RESTART_INTERVAL_ANNOTATION: interval})


def test_the_versions_are_the_same(run: Run) -> None:
    """The files have changed, but the versions have not: other nodes could not tell → an event, and nothing is asked
    for. The versions have changed, but the files have not → nothing to restart for."""

    async def test(it: Setting) -> None:
        restarts = it.rig.driver.publish_path.restarts
        provider_class = await it.rig.driver.backend.cluster.get_class(ClassRef("default", "app"))
        await restarts.rotated(it.state, dict(it.state.objects), provider_class, True)
        assert it.said == ["WorkloadNotRestarted"] and it.workloads.asked == []
        await restarts.rotated(it.state, {"password": "former"}, provider_class, False)
        assert it.workloads.asked == [] and it.state.restart.former == ()

    run(test)


def test_records_of_other_versions() -> None:
    """A record without the field, as earlier versions write it, wants no restart; one with it does."""
    details = VolumeDetails(Pod("ns", "pod", "1"), ClassRef("ns", "app"), "v", restart=("a", "b"))
    assert decode(details.encode()) == details
    without = VolumeDetails(Pod("ns", "pod", "1"), ClassRef("ns", "app"), "v")
    assert "restart" not in without.encode() and decode(without.encode()) == without
