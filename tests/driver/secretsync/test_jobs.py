"""The queue of SecretSyncs."""

from dataclasses import replace

import pytest

from driver.objects.secret_syncs import SecretSync, SyncRef
from driver.ports import ClassRef
from driver.secretsync.jobs import Job, Jobs, Seen


def a_sync(name: str, class_name: str = "app") -> SecretSync:
    """A SecretSync."""
    return SecretSync(SyncRef("ns", name), f"uid-{name}", 1, class_name, "default", "Opaque", (("pw", "password"),))


def test_order() -> None:
    """Jobs come when they are due, the earliest first; one that is planned again counts once, one that is gone
    never."""
    jobs = Jobs()
    for name, due in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        jobs.add(a_sync(name), due)
    a = jobs.get(SyncRef("ns", "a"))
    assert a is not None and jobs.next_due() == 1.0 and len(jobs) == 3
    jobs.plan(a, 0.5)
    gone = jobs.remove(SyncRef("ns", "c"))
    assert gone is not None and gone.gone
    found = []
    while (job := jobs.pop_due(10.0)) is not None:
        found.append(job.sync.ref.name)
    assert found == ["a", "b"] and jobs.pop_due(10.0) is None and jobs.next_due() == float("inf")
    assert jobs.remove(SyncRef("ns", "c")) is None


def test_classes() -> None:
    """SecretSyncs are found by their class; the last one that leaves it says so."""
    jobs, app, other = Jobs(), ClassRef("ns", "app"), ClassRef("ns", "other")
    jobs.add(a_sync("a"), 0.0)
    jobs.add(a_sync("b"), 0.0)
    a, b = (jobs.get(SyncRef("ns", name)) for name in "ab")
    assert a is not None and b is not None and {job.sync.ref.name for job in jobs.of_class(app)} == {"a", "b"}
    assert jobs.update(a, a_sync("a", "other")) is False and jobs.of_class(other) == [a]
    assert jobs.update(b, replace(b.sync, force="x")) is False
    assert jobs.update(b, a_sync("b", "other")) is True
    assert not jobs.uses(app) and jobs.uses(other)


@pytest.mark.parametrize(
    ("seen", "changed"),
    [
        (Seen("100", "100"), False),
        (Seen("100", "250"), False),
        (Seen("101", "101"), True),
        (Seen("", "101"), True),
        (Seen("99", "99"), False),
        (Seen("", "99"), False),
        (Seen("", "100"), False),
        (Seen("", "1000"), True),
        (Seen("x1", "x1"), True),
    ],
    ids=[
        "its own event",
        "in a later list",
        "changed",
        "deleted",
        "an event from before",
        "not in an earlier list",
        "not in a list of that moment",
        "more digits",
        "versions that are no numbers",
    ],
)
def test_changes_by_others(seen: Seen, changed: bool) -> None:
    """What a watch or a list shows of a Secret that was written at 100 → whether somebody else has changed it; what is
    from before the write does not count, nor does anything about a Secret that was not written."""
    assert Job(a_sync("a"), 0.0, version="100").is_changed(seen) == changed
    assert not Job(a_sync("a"), 0.0).is_changed(seen)
