"""A thousand SecretSyncs from a cold start: time, CPU, memory, and calls while nothing happens."""

import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from driver.secretsync import schedule
from tests.cluster.secret_sync.rig import SecretSyncRig
from tests.cluster.secret_sync.test_replicas import replica
from tests.support.waiting import run_async, until_blocking

COUNT = 1000


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_thousand(sync_rig: SecretSyncRig) -> None:
    """1,000 SecretSyncs → all have their Secret. Of each the API server is asked whose it is, and it is written, as is
    its status; the class is read once, not for each. The figures are printed; their bounds are far above what is
    measured, as the machine may be busy."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: sync_rig.make_sync(f"app-{number}"), range(COUNT)))

    def created() -> int:
        found = sync_rig.api.get(sync_rig.sync_path("").rstrip("/"))["items"]
        return sum(bool((item.get("status") or {}).get("syncHash")) for item in found)

    async def test() -> None:
        async with sync_rig.provider():
            mark = sync_rig.cluster.audit.mark()
            started = time.monotonic()
            with replica(sync_rig, "a") as process:
                await until_blocking(lambda: created() == COUNT, lambda: f"{created()} of {COUNT}", 200, pause=0.5)
                seconds = time.monotonic() - started
                ours = psutil.Process(process.pid)
                times, memory = ours.cpu_times(), ours.memory_info().rss / 2**20
                print(f"\n{seconds:.1f} s, {times.user + times.system:.1f} s of CPU, {memory:.0f} MiB")
                counts = sync_rig.count(mark)
                print(dict(counts))
                # Those that were written first are checked meanwhile.
                checks = COUNT * seconds / (schedule.CHECK_SECONDS * (1 - schedule.JITTER))
                assert counts["patch", "secrets"] <= 2.1 * COUNT + checks
                assert counts["patch", "secretsyncs/status"] <= 1.1 * COUNT
                assert counts["get", "secretproviderclasses"] < 10 and counts.total() < 4 * COUNT + checks
                assert times.user + times.system < 30 and memory < 100

    run_async(test, 300)
