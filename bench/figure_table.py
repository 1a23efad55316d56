"""The measures: what each is called in the report, its unit, and what it is compared with."""

from typing import NamedTuple


class Measure(NamedTuple):
    """A row of the report. ``reference`` is the Go trio's figure, the middle of the range in docs/performance.md;
    ``goal`` the ratio to it to reach or, with ``absolute``, the value; ``more`` means that more is better.
    """

    what: str
    unit: str
    reference: float | None = None
    goal: float | None = None
    absolute: bool = False
    more: bool = False


TABLE: dict[str, Measure] = {
    "start": Measure("driver alone: start to first Probe", "s", reference=0.067),
    "container_start": Measure("container: start to first successful Probe", "s", goal=0.7, absolute=True),
    "container_healthz": Measure("container: start to first /healthz 200", "s"),
    "forked_again": Measure("kill -9 of a role: forked again", "ms", goal=50.0, absolute=True),
    "answers_again": Measure("kill -9 of the driver: answers Probe again", "ms"),
    "wakeups": Measure("container: thread wake-ups while idle", "1/s"),
    "paced": Measure("one publish, 8 a second", "ms", reference=14.5, goal=0.8),
    "single": Measure("one publish, back to back, 1 × 64 B", "ms", reference=48.0, goal=0.2),
    "single_large": Measure("one publish, back to back, 10 × 4 KiB", "ms"),
    "sequence": Measure("one of 1,000 publishes, one after the other, 1 × 64 B", "ms", goal=5.0, absolute=True),
    "unpublish": Measure("one unpublish, back to back, 1 × 64 B", "ms", reference=6.5),
    "unpublish_large": Measure("one unpublish, back to back, 10 × 4 KiB", "ms"),
    "burst30": Measure("burst of 30, total time", "s", reference=0.28, goal=1.0),
    "burst110": Measure("burst of 110, total time", "s", reference=4.1, goal=0.2),
    "burst30_exist": Measure("burst of 30, a synced Secret each: until all exist", "s"),
    "burst30_owned": Measure("… until all have owners", "s"),
    "burst110_exist": Measure("burst of 110, a synced Secret each: until all exist", "s", reference=9.3, goal=0.15),
    "burst110_owned": Measure("… until all have owners", "s", reference=12.5, goal=0.15),
    "republish": Measure("republish of 110 unchanged volumes that are due", "s", reference=9.5, goal=0.05),
    "republish_writes": Measure("… API writes", "calls", reference=220, goal=0, absolute=True),
    "outage": Measure(
        "API server killed in a burst of 30, back after 24 s: all mounted",
        "s",
        reference=34.0,
        goal=26.0,
        absolute=True,
    ),
    "outage_back": Measure("… the API server is ready again", "s", reference=24.0),
    "outage_failed": Measure("… first attempts that failed", "calls", reference=30, goal=0, absolute=True),
    "cpu": Measure("CPU of the driver, 1,000 publishes and unpublishes", "s", reference=12.1, goal=0.75),
    "cpu_publish": Measure("… publishes only", "s", reference=7.7),
    "driver_idle": Measure("driver alone: PSS idle", "MB", reference=39.9),
    "driver_loaded": Measure("driver alone: PSS after 110 volumes", "MB", reference=55.0),
    "driver_one": Measure("driver alone: PSS with one volume in an empty cluster", "MB"),
    "driver_large": Measure("driver alone: PSS with one volume in a large cluster", "MB", reference=179.5),
    "driver_growth": Measure("… large cluster relative to empty cluster", "×", reference=4.5, goal=1.1, absolute=True),
    "idle": Measure("container: PSS of all processes, idle", "MB", reference=78.0, goal=1.25),
    "loaded": Measure("container: PSS after 110 volumes", "MB", reference=92.0, goal=1.25),
    "large": Measure("container: PSS with 10,000 classes and managed Secrets", "MB", reference=217.0, goal=0.5),
    "limited_start": Measure("container under the chart's limits: start to first Probe", "s"),
    "limited_healthz": Measure("… start to first /healthz 200", "s"),
    "limited_idle": Measure("… PSS idle", "MB"),
    "limited_burst30": Measure("… first burst of 30", "s"),
    "limited_burst110": Measure("… burst of 110", "s"),
    "limited_loaded": Measure("… PSS after both bursts", "MB"),
    "healthz_new": Measure("/healthz, new connection, p50", "ms", reference=1.08, goal=1.0),
    "healthz_kept": Measure("/healthz, kept connection, p50", "ms", reference=0.99, goal=0.7),
    "healthz_8": Measure("/healthz, 8 connections", "1/s", reference=2212.0, goal=1.4, more=True),
    "healthz_floor_new": Measure(
        "… lower bound: aiohttp and one grpc.aio channel to the same driver, new connection", "ms"
    ),
    "healthz_floor_kept": Measure("… lower bound, kept connection", "ms"),
    "healthz_http": Measure("… aiohttp alone, kept connection", "ms"),
    "getinfo": Measure("registrar: GetInfo, new connection, p50", "ms", goal=1.0, absolute=True),
    "soak_healthz_calls": Measure("soak: /healthz, half on kept connections", "calls"),
    "soak_healthz_second": Measure("… anonymous memory after the second tenth", "MB"),
    "soak_healthz_last": Measure("… after the last tenth", "MB"),
    "soak_healthz_gained": Measure("… growth", "MB", goal=0.5, absolute=True),
    "soak_healthz_fds": Measure("… growth in descriptors", "", goal=0, absolute=True),
    "soak_getinfo_calls": Measure("soak: GetInfo, each on a new connection", "calls"),
    "soak_getinfo_second": Measure("… anonymous memory after the second tenth", "MB"),
    "soak_getinfo_last": Measure("… after the last tenth", "MB"),
    "soak_getinfo_gained": Measure("… growth", "MB", goal=0.5, absolute=True),
    "soak_getinfo_fds": Measure("… growth in descriptors", "", goal=0, absolute=True),
    "calls_publish": Measure("API writes per publish", "calls", reference=1.0, goal=1.0, absolute=True),
    "calls_republish": Measure("API calls per unchanged republish", "calls", goal=0, absolute=True),
    "calls_idle": Measure("API calls while idle, 20 s", "calls", reference=0, goal=0, absolute=True),
    "floor_call": Measure("lower bound: one call to an empty grpc.aio server, new connection", "ms"),
    "floor_burst": Measure("lower bound: the calls of a burst of 110 to that server", "s"),
}
