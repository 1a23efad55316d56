"""What a run does and when the next one is due: back-off, pods and content that are gone, a server that is away."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from driver.sync import reporting, runs
from driver.sync.merge import Outcome
from driver.sync.owners import Owners
from driver.sync.wanted import Wanted
from runtime.errors import PreconditionFailed
from tests.driver.sync.sync_rig import APP, Run, SyncRig


def test_back_off(run_in_rig: Run) -> None:
    """2 s, 4 s … 5 minutes ± 10 %, an event each time; success ends it and is told."""

    async def test(rig: SyncRig) -> None:
        rig.writer.failing = True
        for expected in (2, 4, 8, 16, 32, 64, 128, 256, 300, 300):
            await rig.engine.published(rig.record, APP, True)
            assert expected * 0.85 < rig.wait < expected * 1.15
        assert [event.reason for event in rig.cluster.events] == [reporting.FAILED] * 10
        rig.writer.failing = False
        await rig.engine.published(rig.record, APP, True)
        assert rig.cluster.events[-1].reason == reporting.SYNCED and rig.wait > 269

    run_in_rig(test)


def test_a_pod_that_is_gone(run_in_rig: Run) -> None:
    """No Secret without owner, no event, no further try, even if the pod, not quite gone, is published again."""

    async def test(rig: SyncRig) -> None:
        rig.writer.gone = True
        for _ in range(2):
            await rig.engine.published(rig.record, APP, True)
            assert rig.job.due == float("inf") and not rig.cluster.events

    run_in_rig(test)


def test_a_pod_without_its_status(run_in_rig: Run) -> None:
    """The pod status that is to own the Secret is not written yet → a look again soon, without an event of failure or
    recovery; it is written → the Secret is, at once. Later writes of it run nothing."""

    async def test(rig: SyncRig) -> None:
        rig.writer.ownerless = True
        await rig.engine.published(rig.record, APP, True)
        assert not rig.writer.asked and rig.wait < 15 and "not written yet" in rig.job.problem
        rig.writer.ownerless = False
        rig.engine.recorded(rig.record.target_path)
        await rig.finished()
        assert rig.writer.asked and rig.wait > 269 and not rig.job.problem and not rig.cluster.events
        rig.engine.recorded(rig.record.target_path)
        assert rig.wait > 269

    run_in_rig(test)


def test_a_volume_on_its_way_out(run_in_rig: Run) -> None:
    """A class changes while the volume is being unpublished: no event on a pod that goes, and a look again soon."""

    async def test(rig: SyncRig) -> None:
        Path(rig.record.target_path, "..data").unlink()
        await rig.engine.published(rig.record, APP, True)
        assert not rig.writer.asked and not rig.cluster.events and rig.wait < 15

    run_in_rig(test)


def test_an_api_server_that_is_away(run_in_rig: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that gets no answer is followed by another soon, however often; no event, neither of that nor of its
    end."""
    monkeypatch.setattr(runs, "RUN_SECONDS", 0.05)

    async def test(rig: SyncRig) -> None:
        rig.writer.open.clear()
        for _ in range(5):
            await rig.engine.published(rig.record, APP, True)
            assert rig.wait < 15
        monkeypatch.setattr(runs, "RUN_SECONDS", 30.0)
        rig.writer.open.set()
        await rig.engine.published(rig.record, APP, True)
        assert rig.wait > 269 and not rig.cluster.events

    run_in_rig(test)


@pytest.mark.parametrize("encode", [bytes.decode, lambda data: base64.b64encode(data).decode(), repr, bytes.hex])
def test_an_api_server_that_repeats_the_secret(
    run_in_rig: Run, encode: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The refusal of a Secret contains its value, in some encoding → the event on the pod does not."""

    async def test(rig: SyncRig) -> None:
        (Path(rig.record.target_path) / "password").write_bytes(b"content-canary/77")

        async def refuse(wanted: Wanted, owners: Owners) -> Outcome:
            raise PreconditionFailed(f"admission webhook denied {encode(wanted.data['k'])}, sorry")

        monkeypatch.setattr(rig.writer, "ensure", refuse)
        await rig.engine.published(rig.record, APP, True)
        (event,) = rig.cluster.events
        assert encode(b"content-canary/77") not in event.message
        assert "admission webhook denied" in event.message and "sorry" in event.message

    run_in_rig(test)
