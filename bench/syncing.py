"""How long it takes until synced Secrets exist and have their owners."""

import time
from collections.abc import Sequence

from bench.drivers import Driver
from bench.effort import Effort, settle
from bench.figures import Figures
from bench.rig import NAMESPACE, BenchRig

SYNC_SECONDS = 60.0
_POLL_SECONDS = 0.1


def synced_bursts(drivers: Sequence[Driver], figures: Figures, effort: Effort) -> None:
    """Bursts of pods with a class and a Secret each: time until all Secrets exist, and until all have owners."""
    for number in range(max(1, effort.rounds // 2)):
        for size in (30, 110):
            for driver in drivers:
                names = [f"synced-{driver.name}-{number}-{size}-{index}" for index in range(size)]
                for name in names:
                    driver.rig.write_class(name, synced=name)
                pods = driver.rig.pods(size, names)
                settle(1.0)
                driver.rig.generator.begin("publish", **driver.job(pods, capabilities=2))
                exist, owned = _wait_for_secrets(driver.rig, set(names), time.perf_counter())
                driver.rig.failed_calls.check(driver.name, "publish with a Secret", driver.rig.generator.result())
                for key, seconds in (("exist", exist), ("owned", owned)):
                    if seconds is None:
                        raise RuntimeError(f"{driver.name}: not all Secrets {key} after {SYNC_SECONDS:g} s")
                    figures[f"burst{size}_{key}"].add(driver.name, seconds)
                driver.unpublish(pods, clients=8)


def _wait_for_secrets(rig: BenchRig, names: set[str], started: float) -> tuple[float | None, float | None]:
    """The seconds since ``started`` at which all Secrets existed and at which all had owners; None: not in time. The
    polling is a load on the API server, the same for all drivers.
    """
    assert rig.cluster is not None
    exist: float | None = None
    while time.perf_counter() - started < SYNC_SECONDS:
        secrets = {
            item["metadata"]["name"]: item["metadata"]
            for item in rig.cluster.api.get(f"/api/v1/namespaces/{NAMESPACE}/secrets")["items"]
        }
        now = time.perf_counter() - started
        if names <= secrets.keys():
            exist = exist or now
            if all(secrets[name].get("ownerReferences") for name in names):
                return exist, now
        time.sleep(_POLL_SECONDS)
    return exist, None
