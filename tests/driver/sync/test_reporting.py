"""What the events about the Secrets of a class say."""

from dataclasses import replace

import pytest

from driver.sync import reporting
from driver.sync.jobs import Job, Member
from driver.sync.merge import Outcome
from driver.sync.wanted import Wanted
from tests.driver.sync.sync_rig import APP, REF, Run, SyncRig

SECRET = Wanted("ns", "s", "Opaque", "app", {"k": b"v"}, {}, {}, None)


@pytest.mark.parametrize("asked", [3, 4, 5, 300])
def test_more_secrets_than_a_class_may_ask_for(run_in_rig: Run, asked: int) -> None:
    """A class asks for as many Secrets as it may, for one more, and for many → the first ones are synced, and one event
    says what to do about the others; when the class changes again, too."""

    async def test(rig: SyncRig) -> None:
        rig.engine._table.most_of_class = 4
        many = tuple(replace(APP.secret_objects[0], secret_name=f"s{number}") for number in range(asked))
        rig.cluster.current = replace(APP, secret_objects=many)
        await rig.engine.published(rig.record, rig.cluster.current, True)
        synced = [f"s{number}" for number in range(min(asked, 4))]
        assert sorted(job.secret_name for job in rig.engine._table.jobs.values()) == synced
        told = [event.message for event in rig.cluster.events if "--max-secret-objects" in event.message]
        assert len(told) == (asked > 4)
        assert all(f"asks for {asked} Secrets; the first 4 are synced" in message for message in told)

    run_in_rig(test)


def test_what_a_write_changed_for_others(run_in_rig: Run) -> None:
    """A Secret is adopted, a key of it is taken from another class, and an owner is refused → an event each, of which
    only the adoption is no warning; a plain write → none."""

    async def test(rig: SyncRig) -> None:
        reporter, member = reporting.Reporter(rig.cluster), Member.of(rig.record)
        await reporter.ensured(member, SECRET, Outcome(True))
        assert rig.cluster.events == []
        await reporter.ensured(member, SECRET, Outcome(True, True, [("k", "other")], "no right to add an owner"))
        assert [(event.warning, event.reason, event.subject) for event in rig.cluster.events] == [
            (False, reporting.ADOPTED, "s"),
            (True, reporting.TAKEN, "s/k"),
            (True, reporting.OWNER_REFUSED, "s"),
        ]
        adopted, taken, refused = (event.message for event in rig.cluster.events)
        assert "the keys k are written to it" in adopted and "by SecretProviderClass other" in taken
        assert refused == "no right to add an owner"

    run_in_rig(test)


def test_a_repetition_is_reported_once(run_in_rig: Run) -> None:
    """An entry, later a key of it, too, is in the class twice → an event for each finding, however often the job runs;
    one that comes back is reported again."""

    async def test(rig: SyncRig) -> None:
        reporter, member = reporting.Reporter(rig.cluster), Member.of(rig.record)
        twice = Job(REF, "s", entries=APP.secret_objects * 2)
        for found in (SECRET, SECRET, replace(SECRET, repeated=("k",)), replace(SECRET, repeated=("k",))):
            await reporter.repeated(twice, member, found)
        entry, key = (event.message for event in rig.cluster.events)
        assert "2 entries of spec.secretObjects name Secret s" in entry and "lists twice" not in entry
        assert key.endswith("lists twice, and the last counts: k. Remove what is not wanted")
        twice.entries = APP.secret_objects
        await reporter.repeated(twice, member, SECRET)
        assert len(rig.cluster.events) == 2
        twice.entries = APP.secret_objects * 2
        await reporter.repeated(twice, member, SECRET)
        assert [event.reason for event in rig.cluster.events] == [reporting.REPEATED] * 3

    run_in_rig(test)
