"""Memory, CPU time, open descriptors and restarts of the roles and the supervisor, read on demand."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TypeVar

import psutil
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runtime import memory
from runtime.supervisor.role_table import RoleTable

T = TypeVar("T")


@dataclass(frozen=True)
class Usage:
    """One process: its resident memory in bytes, CPU time in seconds, open descriptors and start (Unix time), each None
    if it cannot be read. ``proportional_bytes`` is its part of the container's memory (``runtime.memory``), as it was
    up to half a minute ago.

    ``pid`` is 0 for a role that is not running; ``restarts`` and ``last_exit`` are None for a process that is not
    supervised.
    """

    role: str
    pid: int
    resident_bytes: int | None
    cpu_seconds: float | None
    open_fds: int | None
    started: float | None
    restarts: int | None = None
    last_exit: int | None = None
    proportional_bytes: int | None = None


class Processes(Collector):
    """The container's processes; without a supervisor, only this one."""

    def __init__(self, role_table: RoleTable | None) -> None:
        self._role_table = role_table
        self._parent = os.getppid()

    @property
    def supervised(self) -> bool:
        """Whether this process is a role of the container."""
        return self._role_table is not None

    @property
    def orphaned(self) -> bool:
        """Whether the supervisor that started this process is gone."""
        return self.supervised and os.getppid() != self._parent

    def usages(self) -> list[Usage]:
        """The current usage of each process."""
        if self._role_table is None:
            return [_usage("probe", os.getpid(), proportional=memory.proportional_bytes())]
        roles = [
            _usage(each.name, each.pid, each.restarts, each.last_exit, each.memory)
            for each in self._role_table.states()
        ]
        return [*roles, _usage("supervisor", os.getppid(), proportional=self._role_table.own_memory)]

    def collect(self) -> Iterator[Metric]:
        """Prometheus' standard process metrics, with one series per role."""
        families: dict[str, Metric] = {
            "resident_bytes": GaugeMetricFamily(
                "process_resident_memory_bytes", "Resident memory size in bytes.", labels=["role"]
            ),
            "cpu_seconds": CounterMetricFamily(
                "process_cpu_seconds", "User and system CPU time in seconds.", labels=["role"]
            ),
            "open_fds": GaugeMetricFamily("process_open_fds", "Number of open file descriptors.", labels=["role"]),
            "started": GaugeMetricFamily(
                "process_start_time_seconds", "Start time since the Unix epoch in seconds.", labels=["role"]
            ),
            "restarts": CounterMetricFamily(
                "secrets_store_role_restarts", "Restarts of a role by the supervisor.", labels=["role"]
            ),
        }
        for usage in self.usages():
            for name, family in families.items():
                value = asdict(usage)[name]
                if value is not None and (usage.pid or name == "restarts"):
                    family.add_metric([usage.role], value)  # type: ignore[attr-defined]  # all classes of families have it
        yield from families.values()


def _usage(
    role: str, pid: int, restarts: int | None = None, last_exit: int | None = None, proportional: int | None = None
) -> Usage:
    with suppress(psutil.NoSuchProcess):  # it ended meanwhile
        process = psutil.Process(pid)
        with process.oneshot():
            return Usage(
                role,
                pid,
                _figure(lambda: process.memory_info().rss),
                _figure(lambda: process.cpu_times().user + process.cpu_times().system),
                _figure(process.num_fds),
                _figure(process.create_time),
                restarts,
                last_exit,
                proportional or None,
            )
    return Usage(role, 0, 0, 0.0, 0, 0.0, restarts, last_exit)


def _figure(read: Callable[[], T]) -> T | None:
    """A figure, or None where /proc has none: a sandbox may mask its files, leave out lines of /proc/stat, or mount it
    with ``subset=pid``."""
    try:
        return read()
    except psutil.NoSuchProcess:
        raise
    except (psutil.Error, OSError, RuntimeError, ValueError, LookupError):  # what psutil raises for them
        return None
