"""The rows of the report: what each figure is called, its unit, and what it is compared with."""

from typing import NamedTuple


class Row(NamedTuple):
    """One row. ``reference`` is the Go trio's figure, the middle of the range in docs/performance.md;
    ``goal`` the ratio to it to reach or, with ``absolute``, the value; ``more`` means that more is better.
    """

    what: str
    unit: str
    reference: float | None = None
    goal: float | None = None
    absolute: bool = False
    more: bool = False


ROWS: dict[str, Row] = {
    "start": Row("driver alone: start to first Probe", "s", reference=0.067),
    "container_start": Row("container: start to first successful Probe", "s", goal=0.7, absolute=True),
    "container_start_cpu": Row("… CPU of all its processes until then", "s"),
    "container_healthz": Row("container: start to first /healthz 200", "s"),
    "forked_again": Row("kill -9 of a role: forked again", "ms", goal=50.0, absolute=True),
    "answers_again": Row("kill -9 of the driver: answers Probe again", "ms"),
    "wakeups": Row("container: thread wake-ups while idle", "1/s"),
    "paced": Row("one publish, 8 a second", "ms", reference=14.5, goal=0.8),
    "single": Row("one publish, back to back, 1 × 64 B", "ms", reference=48.0, goal=0.2),
    "single_large": Row("one publish, back to back, 10 × 4 KiB", "ms"),
    "sequence": Row("one of 1,000 publishes, one after the other, 1 × 64 B", "ms", goal=5.0, absolute=True),
    "unpublish": Row("one unpublish, back to back, 1 × 64 B", "ms", reference=6.5),
    "unpublish_large": Row("one unpublish, back to back, 10 × 4 KiB", "ms"),
    "burst30": Row("burst of 30, total time", "s", reference=0.28, goal=1.0),
    "burst110": Row("burst of 110, total time", "s", reference=4.1, goal=0.2),
    "burst30_exist": Row("burst of 30, a synced Secret each: until all exist", "s"),
    "burst30_owned": Row("… until all have owners", "s"),
    "burst110_exist": Row("burst of 110, a synced Secret each: until all exist", "s", reference=9.3, goal=0.15),
    "burst110_owned": Row("… until all have owners", "s", reference=12.5, goal=0.15),
    "republish": Row("republish of 110 unchanged volumes that are due", "s", reference=9.5, goal=0.05),
    "republish_writes": Row("… API writes", "calls", reference=220, goal=0, absolute=True),
    "rotation_cpu": Row("driver alone: CPU of an hour with 110 volumes, rotation on, nothing changes", "s"),
    "outage": Row(
        "API server killed in a burst of 30, back after 24 s: all mounted",
        "s",
        reference=34.0,
        goal=26.0,
        absolute=True,
    ),
    "outage_back": Row("… the API server is ready again", "s", reference=24.0),
    "outage_failed": Row("… first attempts that failed", "calls", reference=30, goal=0, absolute=True),
    "cpu": Row("CPU of the driver, 1,000 publishes and unpublishes", "s", reference=12.1, goal=0.75),
    "cpu_publish": Row("… publishes only", "s", reference=7.7),
    "driver_idle": Row("driver alone: PSS idle", "MB", reference=39.9),
    "driver_loaded": Row("driver alone: PSS after 110 volumes", "MB", reference=55.0),
    "driver_one": Row("driver alone: PSS with one volume in an empty cluster", "MB"),
    "driver_large": Row("driver alone: PSS with one volume in a large cluster", "MB", reference=179.5),
    "driver_growth": Row("… large cluster relative to empty cluster", "×", reference=4.5, goal=1.1, absolute=True),
    "idle": Row("container: PSS of all processes, idle", "MB", reference=78.0, goal=1.25),
    "loaded": Row("container: PSS after 110 volumes", "MB", reference=92.0, goal=1.25),
    "large": Row("container: PSS with 10,000 classes and managed Secrets", "MB", reference=217.0, goal=0.5),
    "limited_start": Row("container under the chart's limits: start to first Probe", "s"),
    "limited_healthz": Row("… start to first /healthz 200", "s"),
    "limited_idle": Row("… PSS idle", "MB"),
    "limited_burst30": Row("… first burst of 30", "s"),
    "limited_burst110": Row("… burst of 110", "s"),
    "limited_loaded": Row("… PSS after both bursts", "MB"),
    "healthz_new": Row("/healthz, new connection, p50", "ms", reference=1.08, goal=1.0),
    "healthz_kept": Row("/healthz, kept connection, p50", "ms", reference=0.99, goal=0.7),
    "healthz_8": Row("/healthz, 8 connections", "1/s", reference=2212.0, goal=1.4, more=True),
    "healthz_floor_new": Row(
        "… lower bound: aiohttp and one grpc.aio channel to the same driver, new connection", "ms"
    ),
    "healthz_floor_kept": Row("… lower bound, kept connection", "ms"),
    "healthz_http": Row("… aiohttp alone, kept connection", "ms"),
    "getinfo": Row("registrar: GetInfo, new connection, p50", "ms", goal=1.0, absolute=True),
    "soak_healthz_calls": Row("soak: /healthz, half on kept connections", "calls"),
    "soak_healthz_second": Row("… anonymous memory after the second tenth", "MB"),
    "soak_healthz_last": Row("… after the last tenth", "MB"),
    "soak_healthz_gained": Row("… growth", "MB", goal=0.5, absolute=True),
    "soak_healthz_fds": Row("… growth in descriptors", "", goal=0, absolute=True),
    "soak_getinfo_calls": Row("soak: GetInfo, each on a new connection", "calls"),
    "soak_getinfo_second": Row("… anonymous memory after the second tenth", "MB"),
    "soak_getinfo_last": Row("… after the last tenth", "MB"),
    "soak_getinfo_gained": Row("… growth", "MB", goal=0.5, absolute=True),
    "soak_getinfo_fds": Row("… growth in descriptors", "", goal=0, absolute=True),
    "calls_publish": Row("API writes per publish", "calls", reference=1.0, goal=1.0, absolute=True),
    "calls_republish": Row("API calls per unchanged republish", "calls", goal=0, absolute=True),
    "calls_idle": Row("API calls while idle, 20 s", "calls", reference=0, goal=0, absolute=True),
    "syncs": Row(
        "SecretSyncs from a cold start (1,000; --quick 200): all have their Secret", "s", goal=20.0, absolute=True
    ),
    "syncs_cpu": Row("… CPU of the controller", "s", goal=15.0, absolute=True),
    "syncs_memory": Row("… RSS of the controller", "MiB", goal=57.2, absolute=True),
    "syncs_idle_calls": Row(
        "… API calls in a quiet minute, without those for the Lease", "calls", goal=0, absolute=True
    ),
    "syncs_idle_cpu": Row("… CPU while idle", "ms/s"),
    "floor_call": Row("lower bound: one call to an empty grpc.aio server, new connection", "ms"),
    "floor_burst": Row("lower bound: the calls of a burst of 110 to that server", "s"),
}
