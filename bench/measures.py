"""The measures of the driver, each on the drivers of a run one after the other, so that a slow minute meets all of
them."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench import usage
from bench.children import PYTHON, Child
from bench.figures import Figures
from bench.rig import GROUP, NAMESPACE, BenchRig, settle
from bench.subjects import Driver
from tests.cluster.audit import AuditLog
from tests.support.waiting import wait_until

WRITES = frozenset({"create", "update", "patch", "delete"})
OUTAGE_SECONDS = 24.0
SYNC_SECONDS = 60.0


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 5
    singles: int = 100
    sequence: int = 1_000
    objects: int = 10_000
    outage: bool = True
    soak: int = 100_000

    @staticmethod
    def quick() -> "Effort":
        """A first look in a minute or two."""
        return Effort(rounds=2, singles=30, sequence=200, objects=500, outage=False, soak=5_000)


def floor(rig: BenchRig, figures: Figures) -> None:
    """What the generator and an empty grpc.aio server take: the same connections and calls."""
    socket = rig.directory / "floor.sock"
    server = Child([PYTHON, "-m", "bench.floors", "grpc", str(socket)], rig.directory / "floor.log")
    try:
        wait_until(socket.exists, "the empty server")
        volumes = [{"id": "x", "target": "/x"}] * 110
        for _ in range(3):
            figures["floor_burst"].add("floor", rig.generator.do("floor", socket=str(socket), volumes=volumes)["total"])
            one = rig.generator.do("floor", socket=str(socket), volumes=volumes, clients=1, capabilities=0)
            figures["floor_call"].add("floor", *(each * 1e3 for each in one["seconds"]))
    finally:
        server.stop()


def starts(drivers: Sequence[Driver], figures: Figures, effort: Effort) -> None:
    """Exec to the first Probe that is answered ready; the drivers run after this."""
    for number in range(effort.rounds):
        for driver in drivers:
            if number:
                driver.stop()
            figures["start"].add(driver.name, driver.start())


def singles(drivers: Sequence[Driver], figures: Figures, effort: Effort) -> None:
    """One after the other: at kubelet's usual pace, and back to back. CPU time comes in hundredths of a second, so it
    is that of all rounds together."""
    cpu: dict[tuple[str, str], float] = defaultdict(float)
    count = effort.singles // effort.rounds
    for _ in range(effort.rounds):
        for key, class_name, how in (
            ("paced", "small", {"rate": 8}),
            ("single", "small", {"clients": 1}),
            ("single_large", "large", {"clients": 1}),
        ):
            for driver in drivers:
                pods = driver.rig.pods(count, class_name)
                settle(0.5)
                before = driver.cpu()
                figures[key].add(driver.name, *_milliseconds(driver.publish(pods, **how)))
                between = driver.cpu()
                settle(0.5)
                gone = _milliseconds(driver.unpublish(pods, clients=1))
                if key != "paced":
                    figures[key.replace("single", "unpublish")].add(driver.name, *gone)
                if key == "single":
                    cpu[driver.name, "cpu_publish"] += between - before
                    cpu[driver.name, "cpu"] += driver.cpu() - before
    for (name, key), seconds in cpu.items():
        figures[key].add(name, seconds / (count * effort.rounds) * 1000)


def sequence(drivers: Sequence[Driver], figures: Figures, effort: Effort) -> None:
    """A thousand volumes of one small secret, one after the other, provider included."""
    for driver in drivers:
        pods = driver.rig.pods(effort.sequence, "small")
        settle(0.5)
        figures["sequence"].add(driver.name, *_milliseconds(driver.publish(pods, clients=1)))
        driver.unpublish(pods, clients=8)


def _milliseconds(result: dict[str, Any]) -> list[float]:
    return [each * 1e3 for each in result["seconds"]]


def bursts(drivers: Sequence[Driver], figures: Figures, effort: Effort) -> None:
    """All at once; the first of each is warm-up."""
    settle(2.0)
    for size in (30, 110):
        for number in range(effort.rounds + 1):
            for driver in drivers:
                pods = driver.rig.pods(size, "small")
                settle(0.5)
                result = driver.publish(pods)
                if number:
                    figures[f"burst{size}"].add(driver.name, result["total"])
                settle(0.3)
                driver.unpublish(pods, clients=8)


def synced_bursts(drivers: Sequence[Driver], figures: Figures, effort: Effort) -> None:
    """Pods with a class and a Secret of its own each: until all Secrets are there, and until all have owners."""
    for number in range(max(1, effort.rounds // 2)):
        for size in (30, 110):
            for driver in drivers:
                names = [f"synced-{driver.name}-{number}-{size}-{each}" for each in range(size)]
                for name in names:
                    driver.rig.write_class(name, synced=name)
                pods = driver.rig.pods(size, names)
                settle(1.0)
                driver.rig.generator.begin("publish", **driver.job(pods, capabilities=2))
                exist, owned = _await_secrets(driver.rig, set(names), time.perf_counter())
                if driver.rig.generator.result()["failures"]:
                    raise RuntimeError(f"{driver.name}: publishes with synced Secrets failed")
                for key, seconds in (("exist", exist), ("owned", owned)):
                    if seconds is None:
                        raise RuntimeError(f"{driver.name}: after {SYNC_SECONDS:g} s not all Secrets {key}")
                    figures[f"burst{size}_{key}"].add(driver.name, seconds)
                driver.unpublish(pods, clients=8)


def _await_secrets(rig: BenchRig, names: set[str], started: float) -> tuple[float | None, float | None]:
    """Lists the Secrets ten times a second, as both drivers have to bear."""
    assert rig.cluster is not None
    exist: float | None = None
    while time.perf_counter() - started < SYNC_SECONDS:
        found = {
            item["metadata"]["name"]: item["metadata"]
            for item in rig.cluster.api.get(f"/api/v1/namespaces/{NAMESPACE}/secrets")["items"]
        }
        now = time.perf_counter() - started
        if names <= found.keys():
            exist = exist or now
            if all(found[name].get("ownerReferences") for name in names):
                return exist, now
        time.sleep(0.1)
    return exist, None


CallsOf = dict[str, dict[str, Counter[tuple[str, str]]]]


def republish(rig: BenchRig, drivers: Sequence[Driver], figures: Figures, found: CallsOf, effort: Effort) -> None:
    """110 volumes that are due, nothing changed; the drivers of this measure run with rotation on and a short
    interval, one after the other, because their calls are counted."""
    assert rig.cluster is not None
    for driver in drivers:
        subject = driver.name.partition("-")[0]
        driver.start()
        settle(2.0)
        pods = rig.pods(110, "small")
        driver.publish(pods)
        for _ in range(effort.rounds):
            settle(4.0)  # longer than the interval and its jitter
            mark = rig.cluster.audit.mark()
            figures["republish"].add(subject, driver.publish(pods)["total"])
            settle(1.0)
            made = driver.calls(mark)
            figures["republish_writes"].add(subject, sum(count for (verb, _), count in made.items() if verb in WRITES))
            figures["calls_republish"].add(subject, sum(made.values()) / 110)
            found.setdefault(subject, {})["110 republishes, unchanged and due"] = made
        driver.stop()


def calls(rig: BenchRig, drivers: Sequence[Driver], figures: Figures, found: CallsOf) -> None:
    """Calls to the API server from its audit log: of 30 publishes with a known class, of 30 unpublishes, of idling; one
    driver at a time."""
    assert rig.cluster is not None
    for driver in drivers:
        driver.start()
        settle(2.0)
        log, of = rig.cluster.audit, found.setdefault(driver.name, {})
        first, pods = rig.pods(1, "small"), rig.pods(30, "small")
        driver.publish(first)
        settle(1.0)
        mark = log.mark()
        driver.publish(pods)
        settle(1.0)
        of["30 publishes"] = driver.calls(mark)
        figures["calls_publish"].add(
            driver.name, sum(number for (verb, _), number in of["30 publishes"].items() if verb in WRITES) / 30
        )
        mark = log.mark()
        settle(20.0)
        of["idle, 20 s"] = driver.calls(mark)
        figures["calls_idle"].add(driver.name, sum(of["idle, 20 s"].values()))
        mark = log.mark()
        driver.unpublish([*first, *pods], clients=8)
        settle(1.0)
        of["31 unpublishes"] = driver.calls(mark)
        of["30 publishes with a synced Secret"], of["restart with 31 volumes"] = _calls_of_sync(driver, log)
        driver.stop()


def _calls_of_sync(driver: Driver, log: AuditLog) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """Of 30 publishes of a known class, each a new owner of its one Secret; of a restart that finds these volumes."""
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
    settle(15.0)  # a check of each Secret after a restart is spread over ten seconds
    restart = driver.calls(mark)
    driver.unpublish([*first, *pods], clients=8)
    return publishes, restart


def outage(rig: BenchRig, drivers: Sequence[Driver], figures: Figures, effort: Effort) -> None:
    """The API server is killed, 30 pods come, it is back after 24 s; failed tries are repeated as kubelet does."""
    cluster = rig.cluster
    assert cluster is not None
    for driver in [*drivers] * max(1, effort.rounds // 2):
        pods = rig.pods(30, "small")
        settle(1.0)
        cluster.api_server.kill()
        rig.generator.begin("publish", **driver.job(pods, capabilities=2, retry=True))
        started = time.monotonic()
        # It takes some seconds to be ready; it is started so that it is at about 24 s.
        settle(OUTAGE_SECONDS - READY_SECONDS)
        cluster.api_server.start()
        cluster.wait_ready()
        figures["outage_back"].add(driver.name, time.monotonic() - started)
        result = rig.generator.result()
        figures["outage"].add(driver.name, max(result["ended"]))
        figures["outage_failed"].add(driver.name, len(result["first_failures"]))
        driver.unpublish(pods, clients=8)


READY_SECONDS = 2.0


def memory(drivers: Sequence[Driver], figures: Figures) -> None:
    """A fresh driver, idle, and after 110 volumes."""
    for driver in drivers:
        driver.stop()
        driver.start()
        settle(5.0)
        figures["driver_idle"].add(driver.name, usage.pss(driver.pid))
        pods = driver.rig.pods(110, "small")
        driver.publish(pods)
        settle(3.0)
        figures["driver_loaded"].add(driver.name, usage.pss(driver.pid))
        driver.unpublish(pods, clients=8)


def crowd(rig: BenchRig, count: int) -> None:
    """Many classes, and as many Secrets labelled as the trio's sync labels them."""
    spec = {"provider": "bench", "parameters": {"objects": "x" * 200}}
    rig.many(
        [
            {
                "apiVersion": GROUP,
                "kind": "SecretProviderClass",
                "spec": spec,
                "metadata": {"name": f"crowd-{number}", "namespace": NAMESPACE},
            }
            for number in range(count)
        ]
    )
    rig.many(
        [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "stringData": {"value": "x" * 100},
                "metadata": {
                    "name": f"crowd-{number}",
                    "namespace": NAMESPACE,
                    "labels": {"secrets-store.csi.k8s.io/managed": "true"},
                },
            }
            for number in range(count)
        ]
    )


def memory_with_one_class(drivers: Sequence[Driver], figures: Figures, key: str) -> None:
    """A fresh driver with one class in use, in a cluster of whatever size."""
    for driver in drivers:
        driver.stop()
        driver.start()
        pods = driver.rig.pods(1, "small")
        driver.publish(pods)
        settle(8.0)
        figures[key].add(driver.name, usage.pss(driver.pid))
        driver.unpublish(pods)


def growth(drivers: Sequence[Driver], figures: Figures) -> None:
    """What a large cluster adds to a driver's memory."""
    for driver in drivers:
        small, large = figures["driver_one"].median(driver.name), figures["driver_large"].median(driver.name)
        if small and large:
            figures["driver_growth"].add(driver.name, large / small)
