"""The calls that a driver makes to the API server, counted in its audit log. One driver runs at a time."""

from collections import Counter
from collections.abc import Sequence

from bench.drivers import Driver
from bench.effort import Effort, settle
from bench.figures import Figures
from bench.rig import BenchRig
from tests.cluster.audit import AuditLog

WRITES = frozenset({"create", "update", "patch", "delete"})
Calls = Counter[tuple[str, str]]
"""Counts by verb and resource."""
CallsByDriver = dict[str, dict[str, Calls]]
"""By the driver's name, then by what it did."""


def republish(rig: BenchRig, drivers: Sequence[Driver], figures: Figures, table: CallsByDriver, effort: Effort) -> None:
    """Republishes of 110 volumes that are due and unchanged: time and calls. ``drivers`` must have rotation enabled,
    with a short interval.
    """
    assert rig.cluster is not None
    for driver in drivers:
        subject = driver.name.partition("-")[0]
        driver.start()
        settle(2.0)
        pods = rig.pods(110, "small")
        driver.publish(pods)
        for _ in range(effort.rounds):
            settle(4.0)  # longer than the interval with its jitter
            mark = rig.cluster.audit.mark()
            figures["republish"].add(subject, driver.publish(pods)["total"])
            settle(1.0)
            calls = driver.calls(mark)
            figures["republish_writes"].add(subject, _writes(calls))
            figures["calls_republish"].add(subject, sum(calls.values()) / 110)
            table.setdefault(subject, {})["110 republishes, unchanged and due"] = calls
        driver.stop()


def rotate(rig: BenchRig, drivers: Sequence[Driver], figures: Figures, effort: Effort) -> None:
    """110 volumes that nobody changes, republished as kubelet does, about once a minute each; of these calls every
    other one is due. One driver runs at a time. ``drivers`` must have rotation enabled, at its usual interval.
    """
    for driver in drivers:
        subject = driver.name.partition("-")[0]
        driver.start()
        pods = rig.pods(110, "small")
        driver.publish(pods)
        settle(2.0)
        seconds, before = effort.quiet_seconds, driver.cpu()
        for _ in range(2):
            driver.publish(pods, rate=len(pods) / seconds)
        figures["rotation_cpu"].add(subject, (driver.cpu() - before) / (2 * seconds) * 3600)
        driver.stop()


def count_calls(rig: BenchRig, drivers: Sequence[Driver], figures: Figures, table: CallsByDriver) -> None:
    """Calls for publishes of a known class, for unpublishes, for synced Secrets, for a restart, and while idle."""
    assert rig.cluster is not None
    for driver in drivers:
        driver.start()
        settle(2.0)
        log, counts = rig.cluster.audit, table.setdefault(driver.name, {})
        first, pods = rig.pods(1, "small"), rig.pods(30, "small")
        driver.publish(first)
        settle(1.0)
        mark = log.mark()
        driver.publish(pods)
        settle(1.0)
        counts["30 publishes"] = driver.calls(mark)
        figures["calls_publish"].add(driver.name, _writes(counts["30 publishes"]) / 30)
        mark = log.mark()
        settle(20.0)
        counts["idle, 20 s"] = driver.calls(mark)
        figures["calls_idle"].add(driver.name, sum(counts["idle, 20 s"].values()))
        mark = log.mark()
        driver.unpublish([*first, *pods], clients=8)
        settle(1.0)
        counts["31 unpublishes"] = driver.calls(mark)
        counts["30 publishes with a synced Secret"], counts["restart with 31 volumes"] = _count_sync(driver, log)
        driver.stop()


def _count_sync(driver: Driver, log: AuditLog) -> tuple[Calls, Calls]:
    """Calls for 30 publishes of one class, each of which adds an owner to its Secret; and for a restart with these
    volumes.
    """
    name = f"calls-{driver.name}"
    driver.rig.write_class(name, synced=name)
    first, pods = driver.rig.pods(1, name), driver.rig.pods(30, name)
    driver.publish(first)
    settle(2.0)
    mark = log.mark()
    driver.publish(pods, clients=1)
    settle(2.0)
    publishes = driver.calls(mark)
    mark = log.mark()
    driver.restart()
    settle(15.0)  # after a restart the driver spreads the checks of its Secrets over ten seconds
    restart = driver.calls(mark)
    driver.unpublish([*first, *pods], clients=8)
    return publishes, restart


def _writes(calls: Calls) -> int:
    return sum(count for (verb, _), count in calls.items() if verb in WRITES)
