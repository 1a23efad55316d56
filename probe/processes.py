"""Memory, CPU time, open descriptors and restarts of the roles and the supervisor, read on demand."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runtime import memory
from runtime.supervisor.role_table import RoleTable

if TYPE_CHECKING:
    from probe.usage import Usage


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

    def usages(self) -> list["Usage"]:
        """The current usage of each process."""
        # Imported for whoever asks, because the container's start waits for what is imported earlier, here psutil.
        from probe.usage import usage_of

        if self._role_table is None:
            return [usage_of("probe", os.getpid(), proportional=memory.proportional_bytes())]
        roles = [
            usage_of(each.name, each.pid, each.restarts, each.last_exit, each.memory)
            for each in self._role_table.states()
        ]
        return [*roles, usage_of("supervisor", os.getppid(), proportional=self._role_table.own_memory)]

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
            for field, family in families.items():
                value = getattr(usage, field)
                if value is not None and (usage.pid or field == "restarts"):
                    family.add_metric([usage.role], value)  # type: ignore[attr-defined]  # all classes of families have it
        yield from families.values()
