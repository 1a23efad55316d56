"""What an outage of the API server means for pods that start meanwhile."""

import time
from collections.abc import Sequence

from bench.drivers import Driver
from bench.effort import Effort, settle
from bench.figures import Figures
from bench.rig import BenchRig

OUTAGE_SECONDS = 24.0
# How long the API server takes to start. It is started early, to be ready at the end of the outage.
READY_SECONDS = 2.0


def outage(rig: BenchRig, drivers: Sequence[Driver], figures: Figures, effort: Effort) -> None:
    """The API server is killed, 30 pods start, and it returns after 24 s. Failed publishes are retried."""
    cluster = rig.cluster
    assert cluster is not None
    for driver in [*drivers] * max(1, effort.rounds // 2):
        pods = rig.pods(30, "small")
        settle(1.0)
        cluster.api_server.kill()
        rig.generator.begin("publish", **driver.job(pods, capabilities=2, retry=True))
        started = time.monotonic()
        settle(OUTAGE_SECONDS - READY_SECONDS)
        cluster.api_server.start()
        cluster.wait_ready()
        figures["outage_back"].add(driver.name, time.monotonic() - started)
        result = rig.generator.result()
        figures["outage"].add(driver.name, max(result["ended"]))
        figures["outage_failed"].add(driver.name, len(result["first_failures"]))
        driver.unpublish(pods, clients=8)
