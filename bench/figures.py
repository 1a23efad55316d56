"""What was measured, as figures: one row a measure, a column a subject, the Go trio's numbers of another hour beside
them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Figure:
    """One measure. ``reference`` is the Go trio's figure on such a machine, in another hour; ``goal`` the ratio to
    reach, or with ``absolute`` the value; ``more`` says that more is better."""

    key: str
    what: str
    unit: str
    reference: float | None = None
    goal: float | None = None
    absolute: bool = False
    more: bool = False
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, subject: str, *values: float) -> None:
        """More samples of a subject."""
        self.samples.setdefault(subject, []).extend(values)

    def median(self, subject: str) -> float | None:
        """The median of a subject's samples."""
        found = self.samples.get(subject)
        return statistics.median(found) if found else None

    def p99(self, subject: str) -> float | None:
        """The 99th percentile, where there are enough samples to speak of one."""
        found = sorted(self.samples.get(subject, ()))
        return found[min(len(found) - 1, round(len(found) * 0.99))] if len(found) >= 20 else None

    def ratio(self, subject: str, other: str | None) -> float | None:
        """To the other subject of this run; without one to the reference."""
        mine = self.median(subject)
        base = self.median(other) if other is not None else self.reference
        return mine / base if mine is not None and base else None

    def reached(self, subject: str, other: str | None) -> bool | None:
        """Whether the goal is reached; None where there is none, or nothing to compare with."""
        value = self.median(subject) if self.absolute else self.ratio(subject, other)
        if value is None or self.goal is None:
            return None
        return value >= self.goal if self.more else value <= self.goal


# key: (what, unit, Go trio, goal, absolute, more). The references are middles of the ranges in docs/performance.md.
_TABLE: dict[str, tuple[str, str, float | None, float | None, bool, bool]] = {
    "start": ("driver alone: start to first Probe", "s", 0.067, None, False, False),
    "container_start": ("container: start to first successful Probe", "s", None, 0.7, True, False),
    "container_healthz": ("container: start to first /healthz 200", "s", None, None, False, False),
    "forked_again": ("kill -9 of a role: forked again", "ms", None, 50.0, True, False),
    "answers_again": ("kill -9 of the driver: answers Probe again", "ms", None, None, False, False),
    "wakeups": ("container: threads woken while idle", "1/s", None, None, False, False),
    "paced": ("one publish, 8 a second", "ms", 14.5, 0.8, False, False),
    "single": ("one publish, back to back, 1 × 64 B", "ms", 48.0, 0.2, False, False),
    "single_large": ("one publish, back to back, 10 × 4 KiB", "ms", None, None, False, False),
    "sequence": ("one of 1,000 publishes, one after the other, 1 × 64 B", "ms", None, 5.0, True, False),
    "unpublish": ("one unpublish, back to back, 1 × 64 B", "ms", 6.5, None, False, False),
    "unpublish_large": ("one unpublish, back to back, 10 × 4 KiB", "ms", None, None, False, False),
    "burst30": ("burst of 30, whole time", "s", 0.28, 1.0, False, False),
    "burst110": ("burst of 110, whole time", "s", 4.1, 0.2, False, False),
    "burst30_exist": ("burst of 30, a synced Secret each: until all exist", "s", None, None, False, False),
    "burst30_owned": ("… until all have owners", "s", None, None, False, False),
    "burst110_exist": ("burst of 110, a synced Secret each: until all exist", "s", 9.3, 0.15, False, False),
    "burst110_owned": ("… until all have owners", "s", 12.5, 0.15, False, False),
    "republish": ("republish of 110 unchanged volumes that are due", "s", 9.5, 0.05, False, False),
    "republish_writes": ("… API writes", "calls", 220, 0, True, False),
    "outage": ("API server killed in a burst of 30, back after 24 s: all mounted", "s", 34.0, 26.0, True, False),
    "outage_back": ("… the API server is ready again", "s", 24.0, None, False, False),
    "outage_failed": ("… first tries that failed", "calls", 30, 0, True, False),
    "cpu": ("CPU of the driver, 1,000 publishes and unpublishes", "s", 12.1, 0.75, False, False),
    "cpu_publish": ("… the publishes", "s", 7.7, None, False, False),
    "driver_idle": ("driver alone: PSS idle", "MB", 39.9, None, False, False),
    "driver_loaded": ("driver alone: PSS after 110 volumes", "MB", 55.0, None, False, False),
    "driver_one": ("driver alone: PSS with one volume in an empty cluster", "MB", None, None, False, False),
    "driver_large": ("driver alone: PSS with one volume in a large cluster", "MB", 179.5, None, False, False),
    "driver_growth": ("… a large cluster's against an empty one's", "×", 4.5, 1.1, True, False),
    "idle": ("container: PSS of all processes, idle", "MB", 78.0, 1.25, False, False),
    "loaded": ("container: PSS after 110 volumes", "MB", 92.0, 1.25, False, False),
    "large": ("container: PSS with 10,000 classes and managed Secrets", "MB", 217.0, 0.5, False, False),
    "limited_start": ("container under the chart's limits: start to first Probe", "s", None, None, False, False),
    "limited_healthz": ("… start to first /healthz 200", "s", None, None, False, False),
    "limited_idle": ("… PSS idle", "MB", None, None, False, False),
    "limited_burst30": ("… burst of 30, the first one", "s", None, None, False, False),
    "limited_burst110": ("… burst of 110", "s", None, None, False, False),
    "limited_loaded": ("… PSS after these", "MB", None, None, False, False),
    "healthz_new": ("/healthz, new connection, p50", "ms", 1.08, 1.0, False, False),
    "healthz_kept": ("/healthz, kept connection, p50", "ms", 0.99, 0.7, False, False),
    "healthz_8": ("/healthz, 8 connections", "1/s", 2212.0, 1.4, False, True),
    "healthz_floor_new": (
        "… floor: aiohttp and a kept grpc.aio channel to the same driver, new connection",
        "ms",
        None,
        None,
        False,
        False,
    ),
    "healthz_floor_kept": ("… floor, kept connection", "ms", None, None, False, False),
    "healthz_http": ("… aiohttp alone, kept connection", "ms", None, None, False, False),
    "getinfo": ("registrar: GetInfo, new connection, p50", "ms", None, 1.0, True, False),
    "soak_healthz_calls": ("soak: /healthz, half on kept connections", "calls", None, None, False, False),
    "soak_healthz_second": ("… anonymous memory after the second tenth", "MB", None, None, False, False),
    "soak_healthz_last": ("… after the last tenth", "MB", None, None, False, False),
    "soak_healthz_gained": ("… gained", "MB", None, 0.5, True, False),
    "soak_healthz_fds": ("… descriptors gained", "", None, 0, True, False),
    "soak_getinfo_calls": ("soak: GetInfo, each on a new connection", "calls", None, None, False, False),
    "soak_getinfo_second": ("… anonymous memory after the second tenth", "MB", None, None, False, False),
    "soak_getinfo_last": ("… after the last tenth", "MB", None, None, False, False),
    "soak_getinfo_gained": ("… gained", "MB", None, 0.5, True, False),
    "soak_getinfo_fds": ("… descriptors gained", "", None, 0, True, False),
    "calls_publish": ("API writes a publish", "calls", 1.0, 1.0, True, False),
    "calls_republish": ("API calls an unchanged republish", "calls", None, 0, True, False),
    "calls_idle": ("API calls while idle, 20 s", "calls", 0, 0, True, False),
    "floor_call": ("floor: one call to an empty grpc.aio server, new connection", "ms", None, None, False, False),
    "floor_burst": ("floor: the calls of a burst of 110 against it", "s", None, None, False, False),
}


class Figures:
    """All figures of a run."""

    def __init__(self) -> None:
        self._found = {key: Figure(key, *values) for key, values in _TABLE.items()}

    def __getitem__(self, key: str) -> Figure:
        return self._found[key]

    def part(self, key: str, name: str) -> Figure:
        """A figure below another one: one process of the container."""
        inner = f"{key}/{name}"
        if inner not in self._found:
            self._found[inner] = Figure(inner, f"… {name}", self._found[key].unit)
        return self._found[inner]

    def filled(self) -> Sequence[Figure]:
        """Those that were measured."""
        order = list(_TABLE)
        found = sorted(self._found.values(), key=lambda figure: order.index(figure.key.partition("/")[0]))
        return [figure for figure in found if figure.samples]
